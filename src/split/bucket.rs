//! A visitor's fixed number, and how it comes about.
//!
//! `choose` asks for the bucket of a key or for a fresh one. What [`Bucket::of`] answers is part of the
//! product's contract: it must never change, for a visitor would change platforms with it.

use xxhash_rust::xxh3::Xxh3Default;

/// How many buckets there are: a bucket is a hundredth of a percent.
pub const BUCKETS: u16 = 10_000;

/// A visitor's fixed number in 0..10 000; weights only move the borders between buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

impl Bucket {
    /// The bucket of that number, or nothing from 10 000 up.
    pub fn new(number: u16) -> Option<Self> {
        (number < BUCKETS).then_some(Self(number))
    }

    /// The bucket of a key on a route: XXH3-64 (seed 0) of the key's bytes, one zero byte and the route's
    /// name, of which the bucket is `hash × 10 000 / 2⁶⁴` rounded down.
    ///
    /// The name is part of it so that the visitors who go first on one route aren't those who go first on
    /// all.
    pub fn of(key: &[u8], route: &str) -> Self {
        // Streaming, since the key may be of any length and nothing is to be allocated for joining the two.
        let mut hash = Xxh3Default::new();
        hash.update(key);
        hash.update(&[0]);
        hash.update(route.as_bytes());
        let scaled = (u128::from(hash.digest()) * u128::from(BUCKETS)) >> 64;
        Self(scaled as u16)
    }

    /// The bucket written as 1 to 4 digits, as in our cookie; nothing for anything else.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        if !(1..=4).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Self::new(digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
    }

    /// The number, 0..10 000.
    pub fn as_u16(self) -> u16 {
        self.0
    }
}

/// Numbers for visitors who have none yet, one worker's.
///
/// Any 10 000 in a row are every bucket once, and any 100 in a row have each border's share within ±2: new
/// visitors are split as evenly as requests are.
#[derive(Debug, Clone)]
pub struct FreshBuckets(u16);

impl FreshBuckets {
    /// What is added each time. Of the numbers without a factor in common with 10 000, which thus visit every
    /// bucket, it is one of the two near the golden ratio (0.3820) whose runs lie the most evenly.
    const STEP: u16 = 3801;

    /// Numbers from `start` on, any number: workers and instances should start at different ones.
    pub fn new(start: u64) -> Self {
        Self((start % u64::from(BUCKETS)) as u16)
    }

    /// The next visitor's bucket.
    pub fn draw(&mut self) -> Bucket {
        let drawn = Bucket(self.0);
        self.0 = (self.0 + Self::STEP) % BUCKETS;
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_of_keys_are_fixed_for_ever() {
        // Computed with the reference implementation of XXH3.
        let table: [(&[u8], &str, u16); 6] = [
            (b"", "web", 3933),
            (b"alice", "web", 2538),
            (b"alice", "api", 8466),
            (&[192, 0, 2, 1], "web", 1936),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "web", 539),
            (&[b'k'; 300], "web", 1452),
        ];
        for (key, route, bucket) in table {
            assert_eq!(Bucket::of(key, route).as_u16(), bucket, "{key:?} {route}");
        }
    }

    #[test]
    fn keys_spread_evenly() {
        let mut tenths = [0u32; 10];
        for visitor in 0..100_000u32 {
            tenths[usize::from(Bucket::of(&visitor.to_be_bytes(), "web").as_u16() / 1000)] += 1;
        }
        // Five standard deviations of a fair draw.
        assert!(tenths.iter().all(|count| count.abs_diff(10_000) < 475), "{tenths:?}");
    }

    #[test]
    fn only_strict_digits_are_a_bucket() {
        for (text, number) in [("0", 0), ("7", 7), ("0042", 42), ("9999", 9999)] {
            assert_eq!(Bucket::parse(text.as_bytes()), Bucket::new(number));
        }
        for text in ["", "10000", "00001", "-1", "+1", " 1", "1 ", "1.0", "0x1", "1e3", "٣", "12a"] {
            assert_eq!(Bucket::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Bucket::new(10_000), None);
    }

    #[test]
    fn any_hundred_fresh_buckets_have_every_border_within_two() {
        // A run from another start is the same run turned round the circle, and a border then is an arc: it
        // is enough to look at every arc between two numbers of one run.
        let mut fresh = FreshBuckets::new(0);
        let mut run: Vec<i32> = (0..100).map(|_| i32::from(fresh.draw().as_u16())).collect();
        run.sort_unstable();
        let turned: Vec<i32> = run.iter().map(|number| number + i32::from(BUCKETS)).collect();
        run.extend(turned);
        for from in 0..100 {
            for count in 1..=100usize {
                // In hundredths of a visitor: a border at share s of the circle should have s of the hundred.
                let held = 100 * count as i32;
                let closed = run[from + count - 1] - run[from] + 1;
                let open = run[from + count] - run[from] - 1;
                assert!(held - closed <= 200, "too many between {} and {closed} on", run[from]);
                assert!(open - (held - 100) <= 200, "too few between {} and {open} on", run[from]);
            }
        }
    }

    proptest! {
        #[test]
        fn any_ten_thousand_fresh_buckets_are_every_bucket_once(start: u64) {
            let mut fresh = FreshBuckets::new(start);
            let mut seen = vec![false; usize::from(BUCKETS)];
            for _ in 0..BUCKETS {
                let bucket = usize::from(fresh.draw().as_u16());
                prop_assert!(!std::mem::replace(&mut seen[bucket], true));
            }
        }

        #[test]
        fn any_bytes_have_a_bucket(key: Vec<u8>, route in "[a-z]{1,63}") {
            prop_assert!(Bucket::of(&key, &route).as_u16() < BUCKETS);
            prop_assert_eq!(Bucket::of(&key, &route), Bucket::of(&key, &route));
        }
    }
}
