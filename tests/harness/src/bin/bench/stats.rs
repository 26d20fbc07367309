//! Medians and other quantiles of what was measured, by nearest rank.

use std::time::Duration;

pub fn row(what: &str, samples: Vec<Duration>) -> String {
    ranks(what, samples, &[50, 95, 100])
}

/// The same with the least.
pub fn spread(what: &str, samples: Vec<Duration>) -> String {
    ranks(what, samples, &[0, 50, 95, 100])
}

fn ranks(what: &str, mut samples: Vec<Duration>, shares: &[usize]) -> String {
    samples.sort();
    let rank = |share: &usize| {
        let at = (samples.len() * share).div_ceil(100).max(1) - 1;
        let value = samples.get(at).map_or(f64::NAN, Duration::as_secs_f64);
        format!(" {value:.2} s |")
    };
    let ranks: String = shares.iter().map(rank).collect();
    format!("| {what} | {} |{ranks}", samples.len())
}

/// Of samples in order: the smallest that `share` of them do not exceed.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let number = u32::try_from(sorted.len()).map_or(f64::NAN, f64::from);
    let reached = (1..)
        .map(f64::from)
        .zip(sorted)
        .find(|(rank, _)| *rank >= number * share);
    reached.map_or(f64::NAN, |(_, value)| *value)
}

pub fn median(samples: impl Iterator<Item = f64>) -> f64 {
    let mut samples: Vec<f64> = samples.collect();
    samples.sort_by(f64::total_cmp);
    quantile(&samples, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_numbers() {
        let samples: Vec<f64> = (1..=1000).map(f64::from).collect();
        for (share, expected) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            assert!(
                (quantile(&samples, share) - expected).abs() < 0.1,
                "{share}"
            );
        }
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 0.1);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn nearest_rank() {
        let samples = (1..=100).rev().map(Duration::from_secs).collect();
        assert_eq!(
            row("a", samples),
            "| a | 100 | 50.00 s | 95.00 s | 100.00 s |"
        );
        let two = vec![Duration::from_secs(2), Duration::from_secs(1)];
        assert_eq!(
            spread("a", two),
            "| a | 2 | 1.00 s | 1.00 s | 2.00 s | 2.00 s |"
        );
        let one = vec![Duration::from_millis(1500)];
        assert_eq!(row("b", one), "| b | 1 | 1.50 s | 1.50 s | 1.50 s |");
    }
}
