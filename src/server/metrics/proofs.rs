//! When each tenant was proved: the one metric that has as many values as there are tenants. It is
//! written as text when somebody asks; a gauge of the library for each takes ten times the memory.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use crate::lock::lock;
use crate::provider::TenantId;

const NAME: &str = "tenantkms_last_proof_timestamp_seconds";
const HELP: &str = "When the newest proof of a tenant was begun, in Unix time.";

#[derive(Debug, Default)]
pub struct Proofs(Mutex<HashMap<TenantId, Duration>>);

impl Proofs {
    /// The newest proof was begun so long after the Unix epoch.
    pub fn set(&self, id: &TenantId, wall: Duration) {
        lock(&self.0).insert(id.clone(), wall);
    }

    pub fn forget(&self, id: &TenantId) {
        lock(&self.0).remove(id);
    }

    /// Appends the text exposition format. Names of objects need no escape there.
    pub fn write(&self, out: &mut String) -> std::fmt::Result {
        let proofs = lock(&self.0);
        if proofs.is_empty() {
            return Ok(());
        }
        writeln!(out, "# HELP {NAME} {HELP}\n# TYPE {NAME} gauge")?;
        for (id, wall) in proofs.iter() {
            let (namespace, name) = id.parts();
            let seconds = wall.as_secs_f64();
            writeln!(
                out,
                "{NAME}{{name=\"{name}\",namespace=\"{namespace}\"}} {seconds}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(proofs: &Proofs) -> String {
        let mut out = String::new();
        proofs.write(&mut out).expect("text");
        out
    }

    #[test]
    fn the_newest_proof_of_each_tenant_that_is_there_is_told() {
        let proofs = Proofs::default();
        assert_eq!(text(&proofs), "");
        let id = TenantId::new("tenants", "acme");
        proofs.set(&id, Duration::from_secs(1));
        proofs.set(&id, Duration::from_millis(1_700_000_000_250));
        assert_eq!(
            text(&proofs),
            "# HELP tenantkms_last_proof_timestamp_seconds When the newest proof of a tenant was \
             begun, in Unix time.\n\
             # TYPE tenantkms_last_proof_timestamp_seconds gauge\n\
             tenantkms_last_proof_timestamp_seconds{name=\"acme\",namespace=\"tenants\"} \
             1700000000.25\n"
        );
        proofs.forget(&id);
        assert_eq!(text(&proofs), "");
    }
}
