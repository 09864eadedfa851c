//! What a request gets. Only GET, only below the token, only by the names of this machine.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use faculty_report::watch::{MOST_CURVES, PAGE, SCRIPT, STYLE, Watch};

/// What is served.
pub(super) struct Site {
    watch: Mutex<Watch>,
    /// `/TOKEN/`
    prefix: String,
    /// How a browser names this server. A page elsewhere whose name was made to lead here (DNS
    /// rebinding) sends another one.
    hosts: [String; 2],
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

impl Site {
    pub(super) fn new(watch: Watch, token: &str, port: u16) -> Self {
        let hosts = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{port}"));
        Self { watch: Mutex::new(watch), prefix: format!("/{token}/"), hosts }
    }

    /// The answer to the head of a request, which ends with an empty line.
    pub(super) fn answer(&self, head: &[u8]) -> Answer {
        let Some(request) = Request::read(head) else { return Answer::bad() };
        let known = request.method == "GET" && self.hosts.iter().any(|own| own == request.host);
        let Some(target) = known.then(|| self.below_token(request.target)).flatten() else {
            return Answer::none();
        };
        match target.split_once('?').unwrap_or((target, "")) {
            ("", "") => Answer::of("text/html", PAGE.as_bytes()),
            ("watch.css", "") => Answer::of("text/css", STYLE.as_bytes()),
            ("watch.js", "") => Answer::of("text/javascript", SCRIPT.as_bytes()),
            ("runs.json", "") => self.json(|watch| watch.overview(SystemTime::now())),
            ("curves.json", query) => match ids(query) {
                Some(ids) => self.json(|watch| watch.curves(&ids)),
                None => Answer::none(),
            },
            _ => Answer::none(),
        }
    }

    /// What follows the token. Every byte of it is compared, so that the time does not tell how many
    /// are right.
    fn below_token<'a>(&self, target: &'a str) -> Option<&'a str> {
        let given = target.as_bytes().get(..self.prefix.len())?;
        let differ = given.iter().zip(self.prefix.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        (differ == 0).then(|| &target[self.prefix.len()..])
    }

    fn json(&self, of: impl FnOnce(&mut Watch) -> serde_json::Value) -> Answer {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        Answer::of("application/json", of(&mut watch).to_string().as_bytes())
    }
}

/// The ids of `run=ID&run=ID`.
fn ids(query: &str) -> Option<Vec<&str>> {
    let is_id = |own: &&str| own.len() == 16 && own.bytes().all(|byte| byte.is_ascii_hexdigit());
    if query.is_empty() {
        return Some(Vec::new());
    }
    let ids: Option<Vec<&str>> =
        query.split('&').map(|own| own.strip_prefix("run=").filter(is_id)).collect();
    ids.filter(|own| own.len() <= MOST_CURVES)
}

/// What matters of a request's head.
struct Request<'a> {
    method: &'a str,
    target: &'a str,
    host: &'a str,
}

impl<'a> Request<'a> {
    /// `None` of what is no request of HTTP/1.
    fn read(head: &'a [u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return None;
        }
        let mut hosts = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("host") {
                hosts.push(value.trim_matches([' ', '\t']));
            }
        }
        let [host] = hosts[..] else { return None };
        Some(Self { method, target, host })
    }
}

impl Answer {
    fn of(kind: &'static str, body: &[u8]) -> Self {
        Self { status: "200 OK", kind, body: body.to_vec() }
    }

    /// The same for everything that is not there, so that nothing can be found out.
    fn none() -> Self {
        Self { status: "404 Not Found", kind: "text/plain", body: b"not found\n".to_vec() }
    }

    /// To what is no request, or too long for one.
    pub(super) fn bad() -> Self {
        Self { status: "400 Bad Request", kind: "text/plain", body: b"bad request\n".to_vec() }
    }

    /// As it is sent. The browser keeps nothing, tells nobody the address, asks nobody else, and shows
    /// the page in no other one.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
             X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n\
             Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
             connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'\r\n\r\n",
            self.status,
            self.kind,
            self.body.len()
        );
        [head.as_bytes(), &self.body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn site(folder: &std::path::Path) -> Site {
        Site::new(Watch::open(folder).unwrap(), TOKEN, 4000)
    }

    fn get(site: &Site, target: &str) -> Answer {
        let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n\r\n");
        site.answer(head.as_bytes())
    }

    #[test]
    fn the_page_and_its_parts_are_there_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        let site = site(folder.path());
        for (name, start) in [
            ("", "<!DOCTYPE html>"),
            ("watch.css", ":root"),
            ("watch.js", "\"use strict\""),
            ("runs.json", "{"),
            ("curves.json", "{\"charts\":[]}"),
            ("curves.json?run=0123456789abcdef&run=0000000000000000", "{\"charts\":[]}"),
        ] {
            let answer = get(&site, &format!("/{TOKEN}/{name}"));
            assert_eq!(answer.status, "200 OK", "{name}");
            assert!(answer.body.starts_with(start.as_bytes()), "{name}");
            let text = String::from_utf8(answer.bytes()).unwrap();
            assert!(text.contains("default-src 'none'") && text.contains("no-store"), "{text}");
        }
        let eight = ["run=0123456789abcdef"; 9].join("&");
        for target in [
            "/".to_owned(),
            format!("/{TOKEN}"),
            format!("{TOKEN}/"),
            format!("/{}/", TOKEN.replace('f', "e")),
            format!("/{}/", TOKEN.to_uppercase()),
            format!("/{}", &TOKEN[1..]),
            format!("http://127.0.0.1:4000/{TOKEN}/"),
            format!("/{TOKEN}/secret"),
            format!("/{TOKEN}/../secret"),
            format!("/{TOKEN}/%2e%2e/secret"),
            format!("/{TOKEN}/..%2fsecret"),
            format!("/{TOKEN}//etc/passwd"),
            format!("/{TOKEN}/./"),
            format!("/{TOKEN}/runs.json?x"),
            format!("/{TOKEN}/runs.json/"),
            format!("/{TOKEN}/curves.json?run=../secret"),
            format!("/{TOKEN}/curves.json?run=/../../secret/0"),
            format!("/{TOKEN}/curves.json?{eight}"),
            // As long as the token, and inside of a letter.
            format!("/{}ä/", &TOKEN[..31]),
        ] {
            assert_eq!(get(&site, &target).status, "404 Not Found", "{target}");
        }
    }

    #[test]
    fn other_names_methods_and_what_is_no_request_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        let status = |head: &str| site.answer(head.as_bytes()).status;
        let first = format!("GET /{TOKEN}/ HTTP/1.1\r\n");
        assert_eq!(status(&format!("{first}host:localhost:4000\r\n\r\n")), "200 OK");
        for host in ["evil.example:4000", "127.0.0.1", "127.0.0.1:4001", "[::1]:4000", "", "0:4000"]
        {
            let head = format!("{first}Host: {host}\r\n\r\n");
            assert_eq!(status(&head), "404 Not Found", "{host}");
        }
        for method in ["POST", "PUT", "HEAD", "OPTIONS", "DELETE", "get", ""] {
            let head = format!("{method} /{TOKEN}/ HTTP/1.1\r\nHost: localhost:4000\r\n\r\n");
            assert_eq!(status(&head), "404 Not Found", "{method}");
        }
        let host = "Host: localhost:4000\r\n";
        for head in [
            String::new(),
            "\r\n\r\n".to_owned(),
            format!("GET /{TOKEN}/\r\n{host}\r\n"),
            format!("GET /{TOKEN}/ HTTP/2\r\n{host}\r\n"),
            format!("GET /{TOKEN}/ x HTTP/1.1\r\n{host}\r\n"),
            format!("GET  /{TOKEN}/ HTTP/1.1\r\n{host}\r\n"),
            format!("{first}\r\n"),
            format!("{first}{host}{host}\r\n"),
            format!("{first}{host}no header\r\n\r\n"),
            format!("{first}{host}"),
        ] {
            assert_eq!(status(&head), "400 Bad Request", "{head:?}");
        }
        assert_eq!(site.answer(b"GET /\xff HTTP/1.1\r\n\r\n").status, "400 Bad Request");
    }
}
