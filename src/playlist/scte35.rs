//! SCTE-35 sections that say when a break begins and ends, as hexadecimal text.
//!
//! In:  a break's name and length. Out: a `splice_info_section` with a `splice_insert` that holds at once: the moment is
//! that of the tag which carries it.
//! Standard: ANSI/SCTE 35 §9.6, §9.7.3.

use crc::{CRC_32_MPEG_2, Crc};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_MPEG_2);
/// Bytes of a section around its command, those that its length counts.
const AROUND_COMMAND: u8 = 17;
/// `splice_insert()`.
const SPLICE_INSERT: u8 = 5;

/// Out of the stream for `duration_ms`, and back by itself.
pub(super) fn out(id: &str, duration_ms: u32) -> String {
    // 33 bits, in 90 kHz ticks.
    let ticks = u64::from(duration_ms) * 90;
    let [_, _, _, high, low @ ..] = ticks.to_be_bytes();
    // out_of_network_indicator, program_splice_flag, duration_flag, splice_immediate_flag; auto_return.
    let mut flags = vec![0xff, 0xfe | high];
    flags.extend(low);
    section(id, &flags)
}

/// Back into the stream.
pub(super) fn back(id: &str) -> String {
    // program_splice_flag and splice_immediate_flag.
    section(id, &[0x5f])
}

fn section(id: &str, flags: &[u8]) -> String {
    let mut command = CRC.checksum(id.as_bytes()).to_be_bytes().to_vec();
    // No cancellation; then no program, and no place among several.
    command.push(0x7f);
    command.extend(flags);
    command.extend([0; 4]);
    let command_len = u8::try_from(command.len()).expect("a command has 10 or 15 bytes");
    // sap_type "not specified", no encryption, no adjustment, every tier.
    let mut section = vec![0xfc, 0x30, AROUND_COMMAND + command_len];
    section.extend([0; 7]);
    section.extend([0xff, 0xf0, command_len, SPLICE_INSERT]);
    section.extend(command);
    // No descriptors.
    section.extend([0; 2]);
    section.extend(CRC.checksum(&section).to_be_bytes());
    let digits = section.iter().map(|byte| format!("{byte:02X}"));
    format!("0x{}", digits.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// threefive 3.0, a decoder of SCTE-35, reads these as a splice insert of event 0x0376E6E7, immediately, out of the
    /// network for 30 s with auto return; and one back in.
    #[test]
    fn sections_are_what_a_decoder_reads() {
        let expected = "0xFC302000000000000000FFF00F050376E6E77FFFFE002932E0000000000000063FC8FA";
        assert_eq!(out("123456789", 30_000), expected);
        let expected = "0xFC301B00000000000000FFF00A050376E6E77F5F0000000000008AC31589";
        assert_eq!(back("123456789"), expected);
    }
}
