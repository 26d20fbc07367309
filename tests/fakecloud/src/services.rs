//! Which cloud a host belongs to. Each cloud decides alone what its services answer.

use crate::http::{Answer, Asked, same_host};
use crate::pipeline::Seen;
use crate::world::World;
use crate::{aws, azure, gcp};

pub(crate) type Service = Box<dyn FnOnce(&World, &Asked) -> Answer + Send>;

/// Whether any cloud answers under that name.
pub(crate) fn knows(world: &World, host: &str) -> bool {
    aws::knows(host) || gcp::knows(host) || azure::knows(world, host)
}

/// Who asks for what, and the service that will answer.
pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    // The name in the request must be the name on the certificate, or a virtual host would be reachable through
    // another one's connection. Metadata services have no certificate.
    let metadata = [azure::imds::IMDS_HOST, gcp::METADATA_HOST].contains(&asked.host.as_str());
    let named = asked
        .header("host")
        .is_some_and(|host| same_host(host, &asked.host));
    if !metadata && !named {
        return (
            Seen::operation("other"),
            Box::new(|_, _| Answer::new(421, "text/plain", "Misdirected Request")),
        );
    }
    if gcp::owns(&asked.host) {
        gcp::prepare(world, asked)
    } else if aws::owns(asked) {
        aws::prepare(world, asked)
    } else {
        azure::prepare(world, asked)
    }
}
