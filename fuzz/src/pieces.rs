//! Bytes that arrive in pieces, cut where the fuzzer says.

/// Splits an input in two: up to 8 numbers that say where to cut, and what is cut.
pub fn split(data: &[u8]) -> Option<(Vec<usize>, &[u8])> {
    let (&count, rest) = data.split_first()?;
    let (cuts, bytes) = rest.split_at_checked(usize::from(count % 8))?;
    let steps = cuts.iter().map(|&cut| usize::from(cut) + 1);
    let mut ends: Vec<usize> = steps
        .scan(0, |at, step| {
            *at += step;
            Some(*at)
        })
        .collect();
    ends.retain(|&end| end < bytes.len());
    ends.push(bytes.len());
    Some((ends, bytes))
}
