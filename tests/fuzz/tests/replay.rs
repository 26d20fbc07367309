//! Every input that is kept, each time, and some changes of each.

use std::process::exit;

use fuzz::mutate::{Dice, mutate};
use fuzz::{MOST, STUCK, TARGETS, Watchdog};

#[test]
fn every_kept_input_is_read_as_it_must_be() {
    for target in TARGETS {
        let corpus = target.corpus().expect("a folder of inputs");
        assert!(!corpus.is_empty(), "{} has no inputs", target.name);
        let mut dice = Dice(1);
        let watchdog = Watchdog::start(STUCK, move |input| {
            eprintln!("{}: no end after {STUCK:?}: {input:02x?}", target.name);
            exit(1);
        });
        for input in &corpus {
            watchdog.watch(input, || target.run(input));
            for _ in 0..200 {
                let other = &corpus[dice.below(corpus.len())];
                let changed = mutate(input, other, MOST, &mut dice);
                watchdog.watch(&changed, || target.run(&changed));
            }
        }
    }
}
