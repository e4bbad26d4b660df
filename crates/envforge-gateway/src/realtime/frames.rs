//! Just enough of RFC 6455 to know where a frame ends.
//!
//! A frozen service can't answer a ping, and a ping is no reason to wake it; so while it is frozen the gateway answers
//! pings itself and lets nothing but data wake. For that it must know frame boundaries at all times, in both
//! directions: in one to find the pings, in the other to put its pongs between frames. Payloads are skipped, never
//! kept, except a ping's 125 bytes.

/// Longest payload of a control frame (RFC 6455, section 5.5).
const CONTROL_MAX: u64 = 125;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The close frame that ends a socket whose session ended: code 1008, policy violation.
pub(crate) const CLOSE_POLICY: [u8; 4] = [0x88, 0x02, 0x03, 0xF0];
/// The close frame that ends a socket whose gateway ends: code 1001, going away.
pub(crate) const CLOSE_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xE9];
/// The close frame that ends a socket whose runtime may not wake: code 1013, try again later.
pub(crate) const CLOSE_LATER: [u8; 4] = [0x88, 0x02, 0x03, 0xF5];

/// What was found in some bytes while the service is frozen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sifted {
    /// What to pass on.
    pub(crate) pass: Vec<u8>,
    /// Pongs to send back.
    pub(crate) pongs: Vec<u8>,
    /// How many.
    pub(crate) answered: u32,
    /// Whether some of it is data.
    pub(crate) is_data: bool,
}

/// The place in one direction's stream of frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; 14],
    /// Bytes of the header seen, and how many of them were passed on.
    seen: usize,
    passed: usize,
    /// What is left of the payload.
    left: u64,
    is_data: bool,
    /// The ping being gathered: mask and payload.
    ping: Option<([u8; 4], Vec<u8>)>,
}

impl Frames {
    /// Whether the stream is between two frames.
    pub(crate) fn is_between(&self) -> bool {
        self.seen == 0 && self.left == 0
    }

    /// Whether all that was seen was passed on, so that bytes may go by as they are.
    pub(crate) fn is_clear(&self) -> bool {
        self.seen == self.passed && self.ping.is_none()
    }

    /// Follows bytes that are passed on as they are, and tells how many of them belong to data: pings and pongs keep
    /// nothing awake.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut data = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.left > 0 {
                let taken = self.skip(rest.len());
                data += if self.is_data { taken } else { 0 };
                rest = &rest[taken..];
            } else {
                self.push(rest[0]);
                self.passed = self.seen;
                rest = &rest[1..];
                if self.is_header_whole() {
                    let length = self.seen;
                    self.begin_payload();
                    data += if self.is_data { length } else { 0 };
                }
            }
        }
        data
    }

    /// Takes bytes apart: pings are answered if `is_frozen`, all else is passed on.
    pub(crate) fn sift(&mut self, bytes: &[u8], is_frozen: bool) -> Sifted {
        let mut sifted = Sifted::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.left > 0 {
                let taken = self.skip(rest.len());
                if let Some((_, payload)) = &mut self.ping {
                    payload.extend_from_slice(&rest[..taken]);
                } else {
                    sifted.is_data |= self.is_data;
                    sifted.pass.extend_from_slice(&rest[..taken]);
                }
                rest = &rest[taken..];
            } else {
                self.push(rest[0]);
                rest = &rest[1..];
                if self.is_header_whole() {
                    self.sort_header(is_frozen, &mut sifted);
                }
            }
            if self.left == 0
                && let Some((mask, payload)) = self.ping.take()
            {
                answer(mask, &payload, &mut sifted);
            }
        }
        if !is_frozen && self.ping.is_none() {
            sifted.pass.extend_from_slice(&self.header[self.passed..self.seen]);
            self.passed = self.seen;
        }
        sifted
    }

    fn sort_header(&mut self, is_frozen: bool, sifted: &mut Sifted) {
        let opcode = self.header[0] & 0x0F;
        let header = self.header;
        let (passed, seen) = (self.passed, self.seen);
        self.begin_payload();
        if is_frozen && opcode == PING && passed == 0 && self.left <= CONTROL_MAX {
            let mut mask = [0; 4];
            if header[1] & 0x80 != 0 {
                mask.copy_from_slice(&header[seen - 4..seen]);
            }
            self.ping = Some((mask, Vec::new()));
        } else {
            sifted.pass.extend_from_slice(&header[passed..seen]);
            sifted.is_data |= self.is_data;
        }
    }

    fn push(&mut self, byte: u8) {
        self.header[self.seen] = byte;
        self.seen += 1;
    }

    fn header_length(&self) -> usize {
        let extended = match self.header[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.header[1] & 0x80 == 0 { 0 } else { 4 }
    }

    fn is_header_whole(&self) -> bool {
        self.seen >= 2 && self.seen == self.header_length()
    }

    fn begin_payload(&mut self) {
        self.left = match self.header[1] & 0x7F {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.header[2..10]);
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        self.is_data = self.header[0] & 0x0F < 0x8;
        (self.seen, self.passed) = (0, 0);
    }

    fn skip(&mut self, available: usize) -> usize {
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(available);
        self.left -= taken as u64;
        taken
    }
}

fn answer(mask: [u8; 4], payload: &[u8], sifted: &mut Sifted) {
    sifted.pongs.push(0x80 | PONG);
    sifted.pongs.push(payload.len() as u8);
    sifted.pongs.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    sifted.answered += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            middle @ 126..65_536 => {
                frame.push(0xFE);
                frame.extend_from_slice(&(middle as u16).to_be_bytes());
            }
            long => {
                frame.push(0xFF);
                frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    // proves RUN-5
    #[test]
    fn pings_are_answered_and_data_passes_however_the_bytes_are_cut() {
        let long = vec![7; 70_000];
        let parts = [frame(1, b"hi"), frame(9, b"ping"), frame(2, &long), frame(9, b""), frame(8, &[3, 232])];
        let bytes = parts.concat();
        let wanted_pass = [parts[0].clone(), parts[2].clone(), parts[4].clone()].concat();
        for cut in [1, 2, 3, 5, 7, 4096, bytes.len()] {
            let mut frames = Frames::default();
            let mut all = Sifted::default();
            for chunk in bytes.chunks(cut) {
                let some = frames.sift(chunk, true);
                all.pass.extend(some.pass);
                all.pongs.extend(some.pongs);
                all.is_data |= some.is_data;
            }
            assert!(all.pass == wanted_pass, "cut {cut}");
            assert_eq!(all.pongs, [&[0x8A, 4][..], b"ping", &[0x8A, 0]].concat(), "cut {cut}");
            assert!(all.is_data && frames.is_between());
        }
    }

    // proves RUN-5
    #[test]
    fn a_ping_alone_is_no_data() {
        let mut frames = Frames::default();
        let sifted = frames.sift(&frame(9, b"x"), true);
        assert!(sifted.pass.is_empty() && !sifted.is_data);
        assert!(!frames.sift(&frame(10, b"x"), true).is_data, "nor is a pong");
        assert_eq!(frames.follow(&[frame(9, b"x"), frame(10, b"y")].concat()), 0);
        assert_eq!(frames.follow(&[frame(9, b"x"), frame(1, b"abc")].concat()), 9);
        assert!(frames.sift(&frame(0, b"x"), true).is_data, "a continuation is");
    }

    #[test]
    fn freezing_in_the_middle_of_a_frame_loses_no_byte() {
        let bytes = [frame(1, &[9; 200]), frame(9, b"pingping"), frame(1, b"end")].concat();
        for first in 0..bytes.len() {
            for second in [first, (first + 5).min(bytes.len()), bytes.len()] {
                let mut frames = Frames::default();
                frames.follow(&bytes[..first]);
                assert!(frames.is_clear());
                let mut pass = bytes[..first].to_vec();
                let frozen = frames.sift(&bytes[first..second], true);
                pass.extend(frozen.pass);
                let thawed = frames.sift(&bytes[second..], false);
                pass.extend(thawed.pass);
                assert!(frames.is_between() && frames.is_clear(), "{first} {second}");
                let answered = frozen.answered + thawed.answered;
                let kept = if answered == 1 { [frame(1, &[9; 200]), frame(1, b"end")].concat() } else { bytes.clone() };
                assert!(pass == kept, "{first} {second}");
            }
        }
    }
}
