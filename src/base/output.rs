//! The one way to standard output: what a command answers, never a log line.

use std::io::{self, Write};

/// Writes `text` and flushes. A reader that went away (`weir info | head -1`) is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
