//! What a command reads as a whole: a file, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::failure::Failure;

/// The text of one file, or of standard input.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new("-") { bounded(io::stdin()) } else { File::open(path).and_then(bounded) };
    let text = read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::new(format!("{} is not text in UTF-8", name_of(path))),
        _ => Failure::new(format!("{} could not be read: {error}", name_of(path))),
    })?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(Failure::new(format!("{} has more than {MAX_BYTES} bytes; split it", name_of(path))));
    }
    Ok(text)
}

/// What an error calls the file.
pub(crate) fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// One byte more than there may be: enough to see that there are too many, of a device that never ends, too.
fn bounded(input: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    // Of a text that is cut off anyway the last character may be half.
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|_not_text| io::ErrorKind::InvalidData.into())
}

/// Far more than thousands of clients need.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
