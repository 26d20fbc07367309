//! Durations as people write them (`30s`, `1m30s`, Go's syntax, which CEL's `duration()` reads
//! too). Must never panic: an old CRD may let any text through.

use std::time::Duration;

/// Go's `time.ParseDuration` without a sign: `None` for anything else, for a negative value and
/// for more than Go can hold (292 years).
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = split_where(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, tail) = split_where(tail, |c| c.is_ascii_digit() || c == '.');
        nanos = nanos.checked_add(part(number, unit_nanos(unit)?)?)?;
        rest = tail;
    }
    let fits = !text.is_empty() && i64::try_from(nanos).is_ok();
    fits.then(|| Duration::from_nanos(nanos))
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" | "µs" | "μs" => 1_000,
        "ns" => 1,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `unit`, in nanoseconds.
fn part(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Nine decimals of an hour are microseconds: more is noise, and Go drops it as well.
    let kept = &fraction[..fraction.len().min(9)];
    let scale = 10_u128.pow(u32::try_from(kept.len()).ok()?);
    let below = u128::from(digits(kept)?) * u128::from(unit) / scale;
    digits(whole)?
        .checked_mul(unit)?
        .checked_add(u64::try_from(below).ok()?)
}

fn digits(text: &str) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    text.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    text.parse().ok()
}

/// The shortest text that [`parse_duration`] reads back: `30s`, `5m`, `1m30s`, `2160h`.
pub fn format_duration(duration: Duration) -> String {
    let total = duration.as_secs();
    let parts = [
        (total / 3600, "h"),
        (total / 60 % 60, "m"),
        (total % 60, "s"),
        (u64::from(duration.subsec_millis()), "ms"),
    ];
    let text: Vec<_> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect();
    if text.is_empty() {
        return "0s".into();
    }
    text.concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("5.s", 5_000),
            ("2160h", 7_776_000_000),
            ("1h15m30.918s", 4_530_918),
            ("250ms", 250),
            ("3000us", 3),
            ("3000µs", 3),
            ("0.3333333333333333333h", 1_199_999),
        ] {
            let read = parse_duration(text).map(|d| d.as_millis());
            assert_eq!(read, Some(millis), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_without_a_panic() {
        for text in [
            "",
            "5",
            "s",
            ".s",
            "-5s",
            "+5s",
            "1.2.3s",
            "1 h",
            "1d",
            "five",
            "nan",
            "infs",
            "1e9s",
            "9999999999999999999999h",
            "3000000h",
            "5s ",
            "٣s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn writes_like_a_person() {
        for (text, secs) in [
            ("0s", 0),
            ("30s", 30),
            ("5m", 300),
            ("1m30s", 90),
            ("1h", 3600),
        ] {
            assert_eq!(format_duration(Duration::from_secs(secs)), text);
        }
        assert_eq!(format_duration(Duration::from_millis(61_500)), "1m1s500ms");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0_u64..9_000_000_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn nor_does_one_that_nearly_fits(text in "[0-9.]{0,24}(h|m|s|ms|us|ns|µs)") {
            let _ = parse_duration(&text);
        }
    }
}
