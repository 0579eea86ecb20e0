//! A password from standard input, never from the command line, where everybody on the machine could read it.
use std::io::Read;

use crate::api::ftp_users::Password;
use crate::base::limits::CLIENT_PASSWORD_MAX;
use crate::cli::failure::Failure;

/// All of the input but one line end.
pub(crate) fn read(input: impl Read) -> Result<Password, Failure> {
    const DOING: &str = "read the password from standard input";
    let mut bytes = Vec::new();
    input.take(CLIENT_PASSWORD_MAX + 1).read_to_end(&mut bytes).map_err(|cause| Failure::io(DOING, cause))?;
    if bytes.len() as u64 > CLIENT_PASSWORD_MAX {
        return Err(Failure::usage(DOING, "it is too long", "Give a password of 8 to 1024 bytes."));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(DOING, "it is not UTF-8", "Give the password as UTF-8 text."))?;
    let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(Failure::usage(DOING, "there is none", "Pipe it in, or type it and end with Ctrl-D."));
    }
    Ok(Password(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_input_without_its_line_end() {
        for (input, wanted) in
            [("secret\n", "secret"), ("secret\r\n", "secret"), (" se cret ", " se cret "), ("a\n\n", "a\n")]
        {
            assert_eq!(read(input.as_bytes()).unwrap().0, wanted);
        }
        for bad in [&b""[..], b"\n", b"\xff", &[b'a'; 5000]] {
            assert_eq!(read(bad).unwrap_err().exit(), 2);
        }
    }
}
