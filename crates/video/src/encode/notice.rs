//! The notice of version and settings that x264 leaves in what it writes.

use ffmpeg_next::Packet;

/// The packet without the notice in which x264 writes its version and settings: it would make equal
/// pictures differ between builds.
pub(super) fn without_version_notice(packet: &Packet) -> Packet {
    let data = packet.data().unwrap_or_default();
    let kept = strip_user_data(data);
    let mut copy = Packet::copy(kept.as_deref().unwrap_or(data));
    copy.set_pts(packet.pts());
    copy.set_dts(packet.dts());
    copy.set_flags(packet.flags());
    copy
}

/// Removes a leading SEI unit (type 6) with unregistered user data (payload type 5) from an H.264
/// stream with start codes (ITU-T H.264, annex B and 7.3.2.3); `None` where there is none.
pub(super) fn strip_user_data(data: &[u8]) -> Option<Vec<u8>> {
    let start = match data {
        [0, 0, 0, 1, ..] => 4,
        [0, 0, 1, ..] => 3,
        _ => return None,
    };
    if !matches!(data.get(start..start + 2), Some([header, 5]) if header & 0x1f == 6) {
        return None;
    }
    let next = data[start..]
        .windows(3)
        .position(|window| window == [0, 0, 1])?
        + start;
    // A start code of four bytes belongs to the unit after it.
    let next = if data[next - 1] == 0 { next - 1 } else { next };
    Some(data[next..].to_vec())
}
