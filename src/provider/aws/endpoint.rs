//! Partitions, regions and the hosts of their services; docs.aws.amazon.com, AWS General Reference, "AWS
//! service endpoints". A host is made of these two and of nothing that a spec holds beside.

/// The partitions whose keys may be used: their name, how their regions begin, how their hosts end.
const PARTITIONS: [(&str, &str, &str); 3] = [
    ("aws-cn", "cn-", "amazonaws.com.cn"),
    ("aws-us-gov", "us-gov-", "amazonaws.com"),
    ("aws", "", "amazonaws.com"),
];

/// A region of one of the partitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    pub partition: &'static str,
    pub name: String,
    suffix: &'static str,
}

impl Region {
    /// `None` when there is no such partition, or the region is none of its.
    pub fn of(partition: &str, name: &str) -> Option<Self> {
        if !is_region(name) {
            return None;
        }
        // The most special one first: every name begins with the empty text.
        let (known, _, suffix) = PARTITIONS
            .into_iter()
            .find(|(_, prefix, _)| name.starts_with(prefix))?;
        (known == partition).then(|| Self {
            partition: known,
            name: name.to_owned(),
            suffix,
        })
    }

    /// The host of `kms` or `sts`.
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.{}", self.name, self.suffix)
    }
}

/// `eu-central-1`: words of small letters, and a number.
fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else {
        return false;
    };
    let word =
        |word: &str| (2..=12).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase());
    (1..=3).contains(&words.matches('-').count())
        && words.split('-').all(word)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_of_its_partition() {
        let host = |partition, name| Region::of(partition, name).map(|region| region.host("kms"));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            host("aws", "eu-central-1"),
            some("kms.eu-central-1.amazonaws.com")
        );
        assert_eq!(
            host("aws-cn", "cn-north-1"),
            some("kms.cn-north-1.amazonaws.com.cn")
        );
        assert_eq!(
            host("aws-us-gov", "us-gov-west-1"),
            some("kms.us-gov-west-1.amazonaws.com")
        );
        for (partition, region) in [
            ("aws", "cn-north-1"),
            ("aws-cn", "eu-central-1"),
            ("aws", "us-gov-west-1"),
            ("aws-iso", "us-iso-east-1"),
            ("aws", "evil.test/-1"),
            ("aws", "eu-1"),
            ("aws", "eu--central-1"),
            ("aws", ""),
        ] {
            assert_eq!(host(partition, region), None, "{partition} {region}");
        }
    }
}
