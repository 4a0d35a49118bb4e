//! Only some numbers: which, and where they are.

use super::error::MessageError;

/// The most bytes of an index: 5 x 7 bits hold 32.
pub(super) const MOST_INDEX_BYTES: usize = 5;

/// The places of the `kept` numbers of the largest magnitude, ascending; of equal ones the first. NaN is the largest of all:
/// what is wrong shall be seen.
pub(super) fn largest(values: &[f32], kept: usize) -> Vec<u32> {
    let mut places: Vec<u32> = (0..values.len() as u32).collect();
    if kept < places.len() {
        // Non-negative floats are ordered as their bits are.
        let magnitude = |place: &u32| values[*place as usize].abs().to_bits();
        places.select_nth_unstable_by(kept, |a, b| magnitude(b).cmp(&magnitude(a)).then(a.cmp(b)));
        places.truncate(kept);
        places.sort_unstable();
    }
    places
}

/// Appends the number of places and the gaps between them.
pub(super) fn write(body: &mut Vec<u8>, places: &[u32]) {
    body.extend((places.len() as u32).to_le_bytes());
    let mut next = 0;
    for place in places {
        let mut gap = place - next;
        while gap >= 0x80 {
            body.push(gap as u8 | 0x80);
            gap >>= 7;
        }
        body.push(gap as u8);
        next = place + 1;
    }
}

/// The places at the beginning of `body`, ascending and below `numbers`, and what is behind them.
pub(super) fn read(mut body: &[u8], numbers: usize) -> Result<(Vec<u32>, &[u8]), MessageError> {
    let within = "indices";
    let (count, rest) = body
        .split_first_chunk::<4>()
        .ok_or(MessageError::Cut { within })?;
    body = rest;
    let found = u32::from_le_bytes(*count);
    let count = found as usize;
    if count > numbers {
        return Err(MessageError::KeptCount { found, numbers });
    }
    // Each has at least one byte: a body that is too short is not worth the memory.
    if count > body.len() {
        return Err(MessageError::Cut { within });
    }
    let mut places = Vec::with_capacity(count);
    let mut next = 0_u64;
    for nth in 0..count {
        let mut gap = 0_u64;
        let mut bytes = 0;
        loop {
            let (byte, rest) = body.split_first().ok_or(MessageError::Cut { within })?;
            body = rest;
            gap |= u64::from(byte & 0x7f) << (7 * bytes);
            bytes += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if bytes == MOST_INDEX_BYTES {
                return Err(MessageError::Index { nth, numbers });
            }
        }
        let place = next + gap;
        if place >= numbers as u64 {
            return Err(MessageError::Index { nth, numbers });
        }
        places.push(place as u32);
        next = place + 1;
    }
    Ok((places, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_and_of_equal_ones_the_first() {
        let values = [0.5, -3.0, 2.0, 0.0, -2.0, 2.0];
        assert_eq!(largest(&values, 2), [1, 2]);
        assert_eq!(largest(&values, 3), [1, 2, 4]);
        assert_eq!(largest(&values, 6), [0, 1, 2, 3, 4, 5]);
        assert_eq!(largest(&[1.0, f32::NAN, f32::INFINITY], 1), [1]);
    }

    #[test]
    fn places_come_back_in_the_bytes_counted_by_hand() {
        let mut body = Vec::new();
        // Gaps 3, 0, 295 (two bytes), 99_700 (three).
        write(&mut body, &[3, 4, 300, 100_001]);
        assert_eq!(body.len(), 4 + 1 + 1 + 2 + 3);
        body.push(77);
        let (places, rest) = read(&body, 100_002).unwrap();
        assert_eq!(places, [3, 4, 300, 100_001]);
        assert_eq!(rest, [77]);
        let beyond = read(&body, 100_001).unwrap_err();
        assert!(
            matches!(beyond, MessageError::Index { nth: 3, .. }),
            "{beyond}"
        );
    }

    #[test]
    fn what_is_no_list_of_places_is_refused() {
        let list = |count: u32, gaps: &[u8]| [&count.to_le_bytes()[..], gaps].concat();
        let refused = |bytes: &[u8]| read(bytes, 10).unwrap_err();
        assert!(matches!(refused(&[1, 0]), MessageError::Cut { .. }));
        assert!(matches!(
            refused(&list(11, &[0; 11])),
            MessageError::KeptCount { .. }
        ));
        assert!(matches!(
            refused(&list(3, &[0, 0])),
            MessageError::Cut { .. }
        ));
        assert!(matches!(
            refused(&list(1, &[0x80])),
            MessageError::Cut { .. }
        ));
        assert!(matches!(
            refused(&list(1, &[0x80; 9])),
            MessageError::Index { .. }
        ));
        assert!(matches!(
            refused(&list(2, &[9, 0])),
            MessageError::Index { nth: 1, .. }
        ));
    }
}
