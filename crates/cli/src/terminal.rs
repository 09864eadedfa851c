//! stdout and stderr. Whatever the program says goes through here: names of files, classes and
//! teachers may hold what a terminal obeys, and writing may fail.

use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;

use faculty_escape as escape;

/// The first error of a line that could not be written while the work went on.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// In place of the macro of the standard library, so that no message can leave out the escaping.
/// One that cannot be written is no reason to end.
macro_rules! eprint {
    ($($message:tt)*) => { $crate::terminal::tell(&format!($($message)*)) };
}

/// As [`eprint`], with the end of the line.
macro_rules! eprintln {
    ($($message:tt)*) => { $crate::terminal::tell(&(format!($($message)*) + "\n")) };
}

/// Writes to stderr.
pub(crate) fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(escape::terminal(text).as_bytes());
}

/// stdout for text.
pub(crate) struct Stdout(io::StdoutLock<'static>);

/// stdout, until the value is dropped.
pub(crate) fn stdout() -> Stdout {
    Stdout(io::stdout().lock())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Texts come whole; only what is no text at all is changed by this.
        self.0.write_all(escape::terminal(&String::from_utf8_lossy(bytes)).as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// One JSON value on a line of stdout. The work goes on when that fails: a reader that has gone
/// away is no error, and anything else is told by [`finish`].
pub(crate) fn print_json(value: &impl serde::Serialize) {
    let line = serde_json::to_string(value).expect("plain data always serialises");
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{}", escape::json(&line)) {
        let mut lost = LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        lost.get_or_insert(error);
    }
}

/// Writes what is still in the buffer of stdout.
///
/// # Errors
/// When it, or a line before it, could not be written.
pub(crate) fn finish() -> io::Result<()> {
    let lost = LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    lost.map_or(Ok(()), Err).and(io::stdout().flush())
}

/// Whether nobody reads stdout any more, which is no error.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}
