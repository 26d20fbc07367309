//! Partitions, regions and hosts: which service of which region a name is, as in AWS's endpoint list.

/// The last label of the regions' hosts, by partition.
const PARTITIONS: [(&str, &str, &str); 3] = [
    ("aws-cn", "cn-", ".amazonaws.com.cn"),
    ("aws-us-gov", "us-gov-", ".amazonaws.com"),
    ("aws", "", ".amazonaws.com"),
];

/// A service of one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) service: &'static str,
    pub(crate) region: String,
    pub(crate) partition: &'static str,
}

impl Place {
    pub(crate) fn of_host(host: &str) -> Option<Self> {
        if host == "sts.amazonaws.com" {
            return Some(Self {
                service: "sts",
                region: "us-east-1".to_owned(),
                partition: "aws",
            });
        }
        let (service, rest) = host.split_once('.')?;
        let service = ["sts", "kms"].into_iter().find(|known| *known == service)?;
        let region = rest.split('.').next()?;
        let (partition, suffix) = partition(region)?;
        (rest == format!("{region}{suffix}")).then(|| Self {
            service,
            region: region.to_owned(),
            partition,
        })
    }
}

/// The partition of a region and the end of its hosts; `None` when it is no region's name.
fn partition(region: &str) -> Option<(&'static str, &'static str)> {
    let (rest, number) = region.rsplit_once('-')?;
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    let sound = rest.contains('-')
        && rest.split('-').all(word)
        && number.len() == 1
        && number.bytes().all(|b| b.is_ascii_digit());
    let (partition, _, suffix) = PARTITIONS
        .into_iter()
        .find(|(_, prefix, _)| region.starts_with(prefix))?;
    sound.then_some((partition, suffix))
}

/// The partition that a region belongs to.
pub(crate) fn partition_of(region: &str) -> &'static str {
    partition(region).map_or("aws", |(partition, _)| partition)
}

/// The host of a service in a region.
pub fn host(service: &str, region: &str) -> String {
    let suffix = partition(region).map_or(".amazonaws.com", |(_, suffix)| suffix);
    format!("{service}.{region}{suffix}")
}

/// The account in an ARN, or nothing.
pub(crate) fn account(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_they_are_written() {
        for region in ["eu-central-1", "cn-north-1", "us-gov-west-1"] {
            let place = Place::of_host(&host("kms", region)).unwrap();
            assert_eq!((place.service, place.region.as_str()), ("kms", region));
        }
        assert_eq!(partition_of("cn-north-1"), "aws-cn");
        assert_eq!(partition_of("us-gov-west-1"), "aws-us-gov");
        for other in [
            "kms.cn-north-1.amazonaws.com",
            "kms.eu-central-1.amazonaws.com.cn",
            "kms.amazonaws.com",
            "s3.eu-central-1.amazonaws.com",
            "kms.eu-central-1.amazonaws.com.evil.test",
            "kms..amazonaws.com",
            "169.254.169.254",
        ] {
            assert_eq!(Place::of_host(other), None, "{other}");
        }
    }
}
