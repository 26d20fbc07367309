//! The steps of the story, which are the same in every cloud, and what each is called there.

use harness::{Cloud, Words};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Applied,
    Quicker,
    Workload,
    No,
    Yes,
    Disabled,
    Enabled,
    Rotated,
    Moved,
    MovedOn,
    Returned,
    Deleted,
    Hung,
    Answers,
    Looked,
    Told,
}

/// All of them, in order.
pub const STEPS: [Step; 16] = [
    Step::Applied,
    Step::Quicker,
    Step::Workload,
    Step::No,
    Step::Yes,
    Step::Disabled,
    Step::Enabled,
    Step::Rotated,
    Step::Moved,
    Step::MovedOn,
    Step::Returned,
    Step::Deleted,
    Step::Hung,
    Step::Answers,
    Step::Looked,
    Step::Told,
];

impl Step {
    /// `tenant` is the one that the story is about.
    pub fn title(self, cloud: Cloud, tenant: &str) -> String {
        let Words {
            name,
            say_no,
            disable,
            rotate,
            delete,
            ..
        } = cloud.words();
        let [first, second] = cloud.others().map(|cloud| cloud.words().name);
        match self {
            Self::Applied => format!("The platform applies two tenants: {}", both(cloud)),
            Self::Quicker => "So that the story is quick: proved every 5 s (not 30 s), relied on for 1 minute (not 5)".to_owned(),
            Self::Workload => format!("A workload keeps records of {tenant}, encrypted with its master key: examples/agent.rs"),
            Self::No => format!("The customer takes the right to its key away (in {name}: {say_no})"),
            Self::Yes => "The customer gives the right back; nobody tells the operator, which tries every 30 s".to_owned(),
            Self::Disabled => format!("The customer disables the key (in {name}: {disable})"),
            Self::Enabled => "The customer enables it, and the platform asks the operator to look at once".to_owned(),
            Self::Rotated => format!("The customer rotates its key (in {name}: {rotate})"),
            Self::Moved => format!("The customer has a key in {first}, too, and the platform moves the tenant there"),
            Self::MovedOn => format!("And on, to the customer's key in {second}"),
            Self::Returned => format!("And back to {name}, to another key"),
            Self::Deleted => format!("The customer deletes the former keys (in {name}: {delete}): nothing rests on them any more"),
            Self::Hung => format!("{name} hangs: the key's service takes every request and answers none"),
            Self::Answers => "It answers again; the operator finds out by itself".to_owned(),
            Self::Looked => "What the platform's people see of it later".to_owned(),
            Self::Told => "Told to the end: every step came in time.".to_owned(),
        }
    }
}

/// Who the two tenants are.
const fn both(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Azure => "acme gave it a client secret, birch trusts its managed identity",
        Cloud::Aws => "aspen's role trusts the operator's, alder's a ServiceAccount of its own",
        Cloud::Gcp => {
            "willow lets the operator become its service account, juniper trusts the operator's own"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each cloud has its own words for the same steps.
    #[test]
    fn the_story_is_the_same_in_every_cloud() {
        let titles = |cloud: Cloud| STEPS.map(|step| step.title(cloud, "acme"));
        for cloud in Cloud::ALL {
            let command = format!(": {}", cloud.words().command);
            let said = titles(cloud)
                .iter()
                .filter(|title| title.contains(&command))
                .count();
            assert_eq!(said, 4, "{:#?}", titles(cloud));
            let mut other = Cloud::ALL.into_iter().filter(|other| *other != cloud);
            assert!(other.all(|other| {
                let command = format!(": {}", other.words().command);
                titles(cloud).iter().all(|title| !title.contains(&command))
            }));
        }
    }
}
