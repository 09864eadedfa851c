//! `faculty watch`: a local page that follows runs.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};

use faculty_report::watch::Watch;
use serde_json::json;

use self::site::Site;
use super::refuse_recipe;
use crate::arguments::WatchOptions;
use crate::failure::Failure;
use crate::progress::print_json;
use crate::terminal;

mod server;
mod site;

pub(crate) fn run(options: &WatchOptions) -> Result<(), Failure> {
    refuse_recipe(&options.runs)?;
    let watch = Watch::open(&options.runs)?;
    let port = options.port.unwrap_or(0);
    let refused = |error: std::io::Error| Failure::Usage {
        what: format!("cannot listen on 127.0.0.1:{port}: {error}"),
        hint: "leave out `--port` to get a free one, or name another".to_owned(),
    };
    // This machine alone: the page shows names and results.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(refused)?;
    let port = listener.local_addr().map_err(refused)?.port();
    let token = token().map_err(|error| Failure::Usage {
        what: format!("the system gives no random numbers for the address: {error}"),
        hint: "`faculty report` makes a page without a server".to_owned(),
    })?;
    let address = format!("http://127.0.0.1:{port}/{token}/");
    crate::interrupt::end_on_interrupt();
    if options.json {
        print_json(&json!({"event": "watch", "address": address, "port": port}));
        terminal::finish()?;
    } else {
        let mut out = terminal::stdout();
        writeln!(out, "{address}")?;
        out.flush()?;
    }
    eprintln!(
        "open this address in a browser on this machine; whoever has it can see the runs (Ctrl-C ends \
         this)"
    );
    server::serve(&listener, Site::new(watch, &token, port))
}

/// 128 bits that nobody can guess, in hexadecimal.
fn token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_differ() {
        let (a, b) = (token().unwrap(), token().unwrap());
        assert!(a.len() == 32 && a.bytes().all(|own| own.is_ascii_hexdigit()), "{a}");
        assert_ne!(a, b);
    }
}
