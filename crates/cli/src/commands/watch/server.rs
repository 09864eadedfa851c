//! Connections: few at a time, short ones, each for one request.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::site::{Answer, Site};

/// A browser opens six.
const MOST_CONNECTIONS: usize = 16;
/// Bytes of a request's head; those of browsers have less than 1 KiB.
const LONGEST_HEAD: usize = 8192;
/// How long a request, and then its answer, may be under way.
const PATIENCE: Duration = Duration::from_secs(10);
/// A wait for the other side, after which the clock is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A wait for a connection to end.
const MOMENT: Duration = Duration::from_millis(20);

/// Answers until the program is ended.
pub(super) fn serve(listener: &TcpListener, site: Site) -> ! {
    let (site, open) = (Arc::new(site), Arc::new(AtomicUsize::new(0)));
    loop {
        // The system keeps those that wait.
        while open.load(Ordering::Relaxed) >= MOST_CONNECTIONS {
            thread::sleep(MOMENT);
        }
        let Ok((stream, _)) = listener.accept() else {
            // The other side has gone again, or this process has too many files open.
            thread::sleep(MOMENT);
            continue;
        };
        let (site, place) = (Arc::clone(&site), Place::take(&open));
        // Errors of a connection are the other side's; where no thread starts, the connection closes.
        let _ = thread::Builder::new().spawn(move || {
            let _place = place;
            let _ = talk(&stream, &site);
        });
    }
}

/// One of the connections that are open.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn talk(stream: &TcpStream, site: &Site) -> io::Result<()> {
    stream.set_read_timeout(Some(LOOK))?;
    let answer = match read_head(stream, Instant::now() + PATIENCE)? {
        Some(head) => site.answer(&head),
        None => Answer::bad(),
    };
    send(stream, &answer.bytes())
}

/// Up to the first empty line; `None` of what is longer than any request of a browser.
fn read_head(mut stream: impl Read, until: Instant) -> io::Result<Option<Vec<u8>>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    let mut part = [0; 1024];
    loop {
        let count = match stream.read(&mut part) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if is_wait(&error) => 0,
            Err(error) => return Err(error),
        };
        // The end may lie across two parts.
        let from = head.len().saturating_sub(END.len() - 1);
        head.extend(&part[..count]);
        if let Some(at) = head[from..].windows(END.len()).position(|own| own == END) {
            head.truncate(from + at + END.len());
            return Ok((head.len() <= LONGEST_HEAD).then_some(head));
        }
        if head.len() > LONGEST_HEAD {
            return Ok(None);
        }
        if Instant::now() > until {
            return Err(ErrorKind::TimedOut.into());
        }
    }
}

fn send(mut stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    stream.set_write_timeout(Some(LOOK))?;
    let until = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
        if Instant::now() > until {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // Closed with unread bytes, a connection is broken off and the answer may be lost.
    stream.set_read_timeout(Some(LOOK))?;
    let _ = io::copy(&mut stream.take(8 * LONGEST_HEAD as u64), &mut io::sink());
    Ok(())
}

/// Whether nothing has come or gone yet.
fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives some bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn head(bytes: &[u8], step: usize) -> io::Result<Option<Vec<u8>>> {
        read_head(Slow(bytes, step), Instant::now() + Duration::from_secs(3600))
    }

    #[test]
    fn a_head_ends_at_its_empty_line_however_it_arrives() {
        let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbody\r\n\r\n";
        for step in [1, 3, 5, 1000] {
            assert_eq!(head(text, step).unwrap().unwrap(), text[..27], "{step}");
        }
        assert!(head(b"GET / HTTP/1.1\r\n", 4).is_err());
    }

    #[test]
    fn a_head_is_not_longer_than_it_may_be_and_takes_no_longer() {
        let long = [b"GET /".as_slice(), &[b'a'; 100_000], b" HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(head(&long, 1000).unwrap(), None);
        let lines = [b"GET / HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(20_000)].concat();
        assert_eq!(head(&lines, 7).unwrap(), None);
        let over = Instant::now() - Duration::from_secs(1);
        let error = read_head(Slow(b"GET / HTTP/1.1\r\n", 1), over).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
