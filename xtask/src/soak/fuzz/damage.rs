//! How something good is damaged.

use super::Random;

/// What parsers of YAML, hosts, paths and tokens stumble over.
const PIECES: [&str; 32] = [
    "&a [*a, *a]",
    "*a",
    "<<: *a\n",
    "- ",
    "[",
    "{",
    "]",
    "}",
    ": ",
    "? ",
    "\t",
    "\0",
    "\r",
    "\u{202e}",
    "\u{feff}",
    "!!binary ",
    "|+9\n",
    "---\n",
    "...",
    "%YAML 1.2\n",
    "\"",
    "'",
    ".",
    "--",
    "/",
    "\\",
    "%2e",
    "%25",
    ";",
    "\n",
    "=",
    "xn--",
];

/// One to eight damages, anywhere.
pub(super) fn damaged(random: &mut Random, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let length = random.below(40).min((bytes.len() - at) as u64) as usize;
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let piece = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len() as u64 + 1) as usize;
                bytes.splice(to..to, piece);
            }
            3 => {
                let piece = random.pick(&PIECES).repeat(1 + random.below(4) as usize * random.below(300) as usize);
                bytes.splice(at..at, piece.into_bytes());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
        }
    }
    bytes
}

/// The beginning of one and the end of another.
pub(super) fn crossed(random: &mut Random, one: &[u8], other: &[u8]) -> Vec<u8> {
    let (to, from) = (random.below(one.len() as u64 + 1) as usize, random.below(other.len() as u64 + 1) as usize);
    [&one[..to], &other[from..]].concat()
}

/// So many pieces, one after another.
pub(super) fn joined(random: &mut Random, pieces: &[&str], most: u64) -> String {
    (0..=random.below(most)).map(|_| random.pick(pieces)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Random, damaged};

    #[test]
    fn the_same_seed_does_the_same_damage() {
        assert_eq!(damaged(&mut Random(9), b"something good"), damaged(&mut Random(9), b"something good"));
    }
}
