//! The ClientHello (RFC 8446 §4.1.2): what a server must know before it chooses a configuration.
//!
//! Pure: bytes in, a value out. Unknown extensions, GREASE values and ECH are passed over.

/// What the client asks for.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Hello {
    /// Protocol names in the client's order (RFC 7301), as bytes.
    pub alpn: Vec<Vec<u8>>,
    /// Host name (RFC 6066 §3), as sent.
    pub server_name: Option<Vec<u8>>,
    /// The client prefers to show a raw public key (RFC 7250, `client_certificate_type`).
    pub client_raw_key: bool,
    /// The client prefers to be shown a raw public key (`server_certificate_type`).
    pub server_raw_key: bool,
}

/// Where parsing stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Incomplete,
    Complete(Hello),
    /// A TLS alert number and a reason.
    Malformed(u8, &'static str),
}

/// Longest ClientHello that is read, in bytes. The largest of today (post-quantum, ECH) have about 2 KiB.
pub const MAX_HELLO: usize = 16 * 1024;

const UNEXPECTED_MESSAGE: u8 = 10;
const DECODE_ERROR: u8 = 50;
const RAW_PUBLIC_KEY: u8 = 2;

/// Read a handshake message that must be a ClientHello from the front of `bytes`.
pub fn parse(bytes: &[u8]) -> Progress {
    let Some((&[kind, a, b, c], body)) = bytes.split_first_chunk::<4>() else {
        return match bytes.first() {
            Some(&kind) if kind != 1 => Progress::Malformed(UNEXPECTED_MESSAGE, "not a ClientHello"),
            _ => Progress::Incomplete,
        };
    };
    if kind != 1 {
        return Progress::Malformed(UNEXPECTED_MESSAGE, "not a ClientHello");
    }
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if length > MAX_HELLO {
        return Progress::Malformed(DECODE_ERROR, "ClientHello above 16 KiB");
    }
    match body.get(..length) {
        None => Progress::Incomplete,
        Some(body) => match parse_body(body) {
            Some(hello) => Progress::Complete(hello),
            None => Progress::Malformed(DECODE_ERROR, "malformed ClientHello"),
        },
    }
}

fn parse_body(body: &[u8]) -> Option<Hello> {
    let mut body = Reader(body);
    body.take(2 + 32)?; // legacy_version, random
    body.vector8()?; // legacy_session_id
    body.vector16()?; // cipher_suites
    body.vector8()?; // legacy_compression_methods
    let mut hello = Hello::default();
    if body.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(body.vector16()?);
    if !body.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let mut data = Reader(extensions.vector16()?);
        match kind {
            0 => {
                let mut names = Reader(data.vector16()?);
                while !names.0.is_empty() {
                    let name_type = names.u8()?;
                    let name = names.vector16()?;
                    if name_type == 0 && hello.server_name.is_none() {
                        hello.server_name = Some(name.to_vec());
                    }
                }
            }
            16 => {
                let mut names = Reader(data.vector16()?);
                while !names.0.is_empty() {
                    let name = names.vector8()?;
                    if name.is_empty() {
                        return None;
                    }
                    hello.alpn.push(name.to_vec());
                }
            }
            19 => hello.client_raw_key = data.vector8()?.first() == Some(&RAW_PUBLIC_KEY),
            20 => hello.server_raw_key = data.vector8()?.first() == Some(&RAW_PUBLIC_KEY),
            _ => {}
        }
    }
    Some(hello)
}

/// Takes from the front; `None` at any length that lies.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }
    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }
    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?.into();
        self.take(length)
    }
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?.into();
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector16(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u16).to_be_bytes(), body].concat()
    }

    fn vector8(body: &[u8]) -> Vec<u8> {
        [&[body.len() as u8], body].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector16(body)].concat()
    }

    /// A ClientHello with GREASE around what `hello` says.
    fn encode(hello: &Hello) -> Vec<u8> {
        let mut extensions = extension(0x0a0a, &[]);
        if let Some(name) = &hello.server_name {
            extensions.extend(extension(0, &vector16(&[&[0], &vector16(name)[..]].concat())));
        }
        if !hello.alpn.is_empty() {
            let list: Vec<u8> = hello.alpn.iter().flat_map(|name| vector8(name)).collect();
            extensions.extend(extension(16, &vector16(&list)));
        }
        if hello.client_raw_key {
            extensions.extend(extension(19, &vector8(&[2, 0])));
        }
        if hello.server_raw_key {
            extensions.extend(extension(20, &vector8(&[2])));
        }
        extensions.extend(extension(0xfe0d, &[7; 300]));
        let body =
            [&[3, 3][..], &[9; 32], &vector8(&[]), &vector16(&[0x13, 1]), &vector8(&[0]), &vector16(&extensions)]
                .concat();
        [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat()
    }

    prop_compose! {
        fn hellos()(
            alpn in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            server_name in prop::option::of(prop::collection::vec(any::<u8>(), 0..80)),
            client_raw_key in any::<bool>(),
            server_raw_key in any::<bool>(),
        ) -> Hello {
            Hello { alpn, server_name, client_raw_key, server_raw_key }
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_encode_and_waits_for_the_last_byte(hello in hellos(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&hello);
            prop_assert_eq!(parse(&bytes), Progress::Complete(hello));
            prop_assert_eq!(parse(&bytes[..cut.index(bytes.len())]), Progress::Incomplete);
        }

        #[test]
        fn parse_survives_any_mutation(hello in hellos(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut bytes = encode(&hello);
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = parse(&bytes);
        }

        #[test]
        fn parse_survives_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
            let _ = parse(&[&[1, 0, 2, 0][..], &bytes].concat());
        }
    }

    #[test]
    fn parse_refuses_a_length_above_the_bound_before_any_body() {
        assert_eq!(parse(&[1, 0, 0x40, 1]), Progress::Malformed(DECODE_ERROR, "ClientHello above 16 KiB"));
    }

    #[test]
    fn parse_refuses_other_messages_at_their_first_byte() {
        assert_eq!(parse(&[2]), Progress::Malformed(UNEXPECTED_MESSAGE, "not a ClientHello"));
    }
}
