//! stdout and stderr. Whatever the program says goes through here: names of files, classes and
//! teachers may hold what a terminal obeys, and writing may fail.

use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::styling::{AnsiColor, Styles};
use faculty_escape as escape;

/// Whether nothing is written: another rank speaks for this one.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Leaves out all that is written from now on, or no longer.
pub(crate) fn be_silent(silent: bool) {
    SILENT.store(silent, Ordering::Relaxed);
}

/// Whether nothing is written.
pub(crate) fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

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

/// Writes to stderr, labels in the colours of clap's messages where it is a terminal that shows them
/// and `NO_COLOR` does not forbid it.
pub(crate) fn tell(text: &str) {
    if is_silent() {
        return;
    }
    let text = painted(&escape::terminal(text));
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// The labels at the starts of lines, in colour.
fn painted(text: &str) -> String {
    let styles = Styles::styled();
    let labels = [
        ("error:", *styles.get_error()),
        ("warning:", AnsiColor::Yellow.on_default().bold()),
        ("note:", AnsiColor::Cyan.on_default().bold()),
        ("  hint:", *styles.get_valid()),
    ];
    let line = |line: &str| {
        let label = labels.iter().find_map(|&(label, style)| {
            line.strip_prefix(label).map(|rest| format!("{style}{label}{style:#}{rest}"))
        });
        label.unwrap_or_else(|| line.to_owned())
    };
    text.split_inclusive('\n').map(line).collect()
}

/// Characters of a line where nobody says how wide the terminal is.
const WIDTH: usize = 80;

/// Characters of a line: of the terminal; of a pipe what `COLUMNS` says.
pub(crate) fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|own| own.parse().ok());
    let terminal = terminal_size::terminal_size_of(io::stdout());
    said.or(terminal.map(|(width, _)| usize::from(width.0))).unwrap_or(WIDTH)
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
        if is_silent() {
            return Ok(());
        }
        // Texts come whole; only what is no text at all is changed by this.
        self.0.write_all(escape::terminal(&String::from_utf8_lossy(bytes)).as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// One JSON value on a line of stdout. The work goes on when that fails: a reader that has gone
/// away is no error, and anything else is reported by [`finish`].
pub(crate) fn print_json(value: &impl serde::Serialize) {
    if is_silent() {
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_painted_and_nothing_else() {
        let text = "error: no `error:` here\n  hint: fix it\nplain error: text\n";
        let painted = painted(text);
        assert!(painted.starts_with("\u{1b}["), "{painted:?}");
        assert_eq!(painted.matches("\u{1b}[0m").count(), 2, "{painted:?}");
        assert!(painted.ends_with("\nplain error: text\n"), "{painted:?}");
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), text);
    }
}
