//! Median, 95th percentile and maximum of what was measured, by nearest rank.

use std::time::Duration;

pub fn row(what: &str, mut samples: Vec<Duration>) -> String {
    samples.sort();
    let rank = |share: usize| {
        let at = (samples.len() * share).div_ceil(100).max(1) - 1;
        samples.get(at).map_or(f64::NAN, Duration::as_secs_f64)
    };
    format!(
        "| {what} | {} | {:.2} s | {:.2} s | {:.2} s |",
        samples.len(),
        rank(50),
        rank(95),
        rank(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let samples = (1..=100).rev().map(Duration::from_secs).collect();
        assert_eq!(
            row("a", samples),
            "| a | 100 | 50.00 s | 95.00 s | 100.00 s |"
        );
        let one = vec![Duration::from_millis(1500)];
        assert_eq!(row("b", one), "| b | 1 | 1.50 s | 1.50 s | 1.50 s |");
    }
}
