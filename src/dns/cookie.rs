//! Cookies of DNS clients (RFC 7873) in the form that all servers of one name share (RFC 9018). Keeps nothing of a client: what
//! it shows is proven by the cluster's key alone.
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::base::limits::{DNS_COOKIE_AHEAD_MAX, DNS_COOKIE_RENEWED};

/// Octets of a client's part, and of a whole cookie with ours (RFC 9018 section 4).
pub(crate) const CLIENT: usize = 8;
pub(crate) const COOKIE: usize = 24;
const VERSION: u8 = 1;

/// Makes the server's part.
#[derive(Clone)]
pub(crate) struct Cookies {
    hasher: SipHasher24,
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookies")
    }
}

impl Cookies {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self { hasher: SipHasher24::new_with_key(key) }
    }

    /// The cookie to answer with: the one that was shown while it is ours and young, else a fresh one. `shown` has the client's
    /// part at least; `now` counts seconds of the clock on the wall.
    pub(crate) fn answer(&self, shown: &[u8], peer: IpAddr, now: u32) -> Option<[u8; COOKIE]> {
        let client: &[u8; CLIENT] = shown.first_chunk()?;
        if let Ok(whole) = <&[u8; COOKIE]>::try_from(shown) {
            let made = u32::from_be_bytes([whole[12], whole[13], whole[14], whole[15]]);
            // RFC 9018 section 4.3, in the arithmetic of RFC 1982: a time ahead of ours has a large age.
            let age = now.wrapping_sub(made);
            let young = age < DNS_COOKIE_RENEWED || age.wrapping_neg() <= DNS_COOKIE_AHEAD_MAX;
            if young && *whole == self.make(client, peer, made) {
                return Some(*whole);
            }
        }
        Some(self.make(client, peer, now))
    }

    fn make(&self, client: &[u8; CLIENT], peer: IpAddr, time: u32) -> [u8; COOKIE] {
        let mut cookie = [0; COOKIE];
        cookie[..CLIENT].copy_from_slice(client);
        cookie[CLIENT] = VERSION;
        cookie[12..16].copy_from_slice(&time.to_be_bytes());
        let mut text = [0; 16 + 16];
        text[..16].copy_from_slice(&cookie[..16]);
        let address = match peer.to_canonical() {
            IpAddr::V4(v4) => {
                text[16..20].copy_from_slice(&v4.octets());
                4
            }
            IpAddr::V6(v6) => {
                text[16..].copy_from_slice(&v6.octets());
                16
            }
        };
        let hash = self.hasher.hash(&text[..16 + address]);
        cookie[16..].copy_from_slice(&hash.to_le_bytes());
        cookie
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    fn cookies(key: &str) -> Cookies {
        Cookies::new(&bytes(key).try_into().unwrap())
    }

    /// The examples of RFC 9018, appendix A.
    #[test]
    fn all_servers_make_the_same() {
        let one = cookies("e5e973e5a6b2a43f48e7dc849e37bfcf");
        let peer = "198.51.100.100".parse().unwrap();
        let learned = bytes("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        assert_eq!(one.answer(&bytes("2464c4abcf10c957"), peer, 1_559_731_985).unwrap()[..], learned);
        // Half an hour later it is renewed, and not before.
        assert_eq!(one.answer(&learned, peer, 1_559_731_985 + 1799).unwrap()[..], learned);
        let later = one.answer(&learned, peer, 1_559_734_385).unwrap();
        assert_eq!(later[..], bytes("2464c4abcf10c957010000005cf7a871d4a564a1442aca77"));
        let other = cookies("dd3bdf9344b678b185a6f5cb60fca715");
        let peer = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
        let made = other.make(&bytes("22681ab97d52c298").try_into().unwrap(), peer, 1_559_741_817);
        assert_eq!(made[..], bytes("22681ab97d52c298010000005cf7c57926556bd0934c72f8"));
    }

    #[test]
    fn what_was_not_made_for_this_client_is_made_anew() {
        let (cookies, now) = (Cookies::new(&[7; 16]), 1000);
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let own = cookies.answer(&[1; CLIENT], here, now).unwrap();
        assert_eq!(cookies.answer(&own, here, now + 5), Some(own));
        assert_eq!(cookies.answer(&own, "::ffff:192.0.2.1".parse().unwrap(), now), Some(own));
        assert_ne!(cookies.answer(&own, there, now), Some(own));
        // A clock that was set back a little, and one that is an hour wrong.
        assert_eq!(cookies.answer(&own, here, now - 300), Some(own));
        assert_ne!(cookies.answer(&own, here, now - 301), Some(own));
        let mut forged = own;
        forged[23] ^= 1;
        assert_eq!(cookies.answer(&forged, here, now), Some(own));
        let long = [&own[..], &[0; 8]].concat();
        assert_eq!(cookies.answer(&long, here, now), Some(own), "of another form: the client's part counts");
    }
}
