//! Messages on a connection: four bytes of length, then MessagePack with named fields. Memory grows with what came, not with what
//! was announced.
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::cluster::peer::error::PeerError;

pub(crate) async fn send<T: Serialize>(out: &mut (impl AsyncWrite + Unpin), message: &T) -> Result<(), PeerError> {
    out.write_all(&encoded(message)?).await?;
    out.flush().await?;
    Ok(())
}

/// As it goes over the wire.
pub(crate) fn encoded<T: Serialize>(message: &T) -> Result<Vec<u8>, PeerError> {
    let mut bytes = vec![0; 4];
    rmp_serde::encode::write_named(&mut bytes, message).map_err(std::io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(|_| PeerError::TooLarge(bytes.len()))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// The next message, of `max` bytes at most.
pub(crate) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> Result<T, PeerError> {
    let length = from.read_u32().await? as usize;
    if length > max {
        return Err(PeerError::TooLarge(length));
    }
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(rmp_serde::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_read_as_it_was_sent_and_no_other() {
        let mut wire = Vec::new();
        send(&mut wire, &("hive", 7u32)).await.unwrap();
        assert_eq!(receive::<(String, u32)>(&mut wire.as_slice(), 64).await.unwrap(), ("hive".to_owned(), 7));
        assert!(matches!(receive::<(String, u32)>(&mut wire.as_slice(), 5).await, Err(PeerError::TooLarge(7))));
        for cut in 0..wire.len() {
            assert!(matches!(receive::<(String, u32)>(&mut &wire[..cut], 64).await, Err(PeerError::Io(_))), "{cut}");
        }
        assert!(matches!(receive::<u32>(&mut wire.as_slice(), 64).await, Err(PeerError::Unreadable(_))));
    }
}
