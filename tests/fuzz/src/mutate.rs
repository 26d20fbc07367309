//! Changes inputs: as bytes, and where they are JSON by their structure, so that most of them get
//! past the first comma. Deterministic for a seed.

use serde_json::{Map, Value};

/// `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.draw() % limit).unwrap_or_default()
    }
}

/// Values at which readers break.
const ODD: [&str; 16] = [
    "null",
    "0",
    "-1",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "1e400",
    "\"\"",
    "\"2026-11-24T10:00:00Z\"",
    "\"-009999-01-01T00:00:00Z\"",
    "\"9999-12-30T22:00:00.999999999Z\"",
    "\"\\u0000\"",
    "[]",
    "{}",
    "true",
    "\"active\"",
];

/// `input`, changed; `other` lends parts.
pub fn mutate(input: &[u8], other: &[u8], most: usize, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(4) {
        let structured = dice.below(4) != 0;
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(mut value) if structured => {
                let lent = serde_json::from_slice(other).unwrap_or(Value::Null);
                change(&mut value, &lent, dice);
                bytes = value.to_string().into_bytes();
            }
            _ => scramble(&mut bytes, other, dice),
        }
        bytes.truncate(most);
    }
    bytes
}

fn odd(dice: &mut Dice) -> Value {
    let text = ODD[dice.below(ODD.len())];
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// Goes down a random way and changes what is at its end.
fn change(value: &mut Value, lent: &Value, dice: &mut Dice) {
    let lent_child = child(lent, dice);
    let deeper = dice.below(5) != 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let which = dice.below(fields.len());
            if let Some((name, inner)) = fields.iter_mut().nth(which) {
                let same = lent.get(name.as_str()).cloned();
                change(inner, &same.unwrap_or(lent_child), dice);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let which = dice.below(items.len());
            change(&mut items[which], &lent_child, dice);
        }
        Value::Object(fields) => in_object(fields, &lent_child, dice),
        Value::Array(items) => in_array(items, lent_child, dice),
        Value::String(text) if dice.below(2) == 0 => {
            let mut bytes = std::mem::take(text).into_bytes();
            scramble(&mut bytes, b"00ff-:Z.", dice);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        Value::Number(number) if dice.below(2) == 0 => {
            let by = dice.below(3) as u64;
            let near = number.as_u64().unwrap_or_default();
            *value = near.wrapping_add(by).wrapping_sub(1).into();
        }
        leaf => {
            *leaf = if dice.below(2) == 0 {
                odd(dice)
            } else {
                lent.clone()
            }
        }
    }
}

fn child(value: &Value, dice: &mut Dice) -> Value {
    let children: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        leaf => vec![leaf],
    };
    let which = dice.below(children.len());
    children
        .get(which)
        .map_or(Value::Null, |one| (*one).clone())
}

fn in_object(fields: &mut Map<String, Value>, lent: &Value, dice: &mut Dice) {
    let names: Vec<String> = fields.keys().cloned().collect();
    let name = names
        .get(dice.below(names.len()))
        .cloned()
        .unwrap_or_default();
    match dice.below(4) {
        0 => drop(fields.remove(&name)),
        1 => drop(fields.insert(name, odd(dice))),
        2 => drop(fields.insert(name, lent.clone())),
        _ => drop(fields.insert("more".to_owned(), odd(dice))),
    }
}

fn in_array(items: &mut Vec<Value>, lent: Value, dice: &mut Dice) {
    let (which, other) = (dice.below(items.len()), dice.below(items.len()));
    match dice.below(5) {
        0 if !items.is_empty() => drop(items.remove(which)),
        1 if !items.is_empty() => items.swap(which, other),
        2 if !items.is_empty() && items.len() < 200 => {
            let twice = items[which].clone();
            items.insert(other, twice);
        }
        3 if items.len() < 100 => items.extend(items.clone()),
        _ => items.push(lent),
    }
}

fn scramble(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let to = (at + dice.below(16)).min(bytes.len());
    match dice.below(6) {
        0 => drop(bytes.drain(at..to)),
        1 => bytes.truncate(at),
        2 => bytes.insert(at, dice.draw().to_le_bytes()[0]),
        3 => {
            let from = dice.below(other.len() + 1);
            let end = (from + dice.below(64)).min(other.len());
            bytes.splice(at..at, other[from..end].iter().copied());
        }
        4 => {
            let deep = b"[{\"a\":"[dice.below(2)];
            bytes.splice(at..at, std::iter::repeat_n(deep, dice.below(3_000)));
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}
