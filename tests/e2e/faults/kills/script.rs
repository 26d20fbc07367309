//! What happens to the tenants meanwhile, and what is true of each by then. The truth is kept
//! here, by what was done, and never read from the operator.

use std::collections::BTreeMap;

use anyhow::Result;
use fakecloud::Key;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::super::film::{condition, is, tenants};
use super::super::town::{Customer, Town};
use super::Dice;
use crate::support::{DIRECTORY, VARIABLE};

/// What is true of a tenant whose object exists.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of a tenant"
)]
pub struct Truth {
    granted: bool,
    suspended: bool,
    other_key: bool,
    slow: bool,
    asked: u32,
}

impl Truth {
    pub fn is_usable(&self) -> bool {
        self.granted && !self.suspended
    }

    /// Whether the object says so; `proved` when a spec of it was ever in force.
    pub fn is_told(&self, object: &Value, proved: bool) -> bool {
        let status = &object["status"];
        let because = |kind: &str, reason: &str| {
            condition(object, kind).is_some_and(|one| one["reason"] == reason)
        };
        let handled = &status["handledRequests"]["verifyRequestedAt"];
        let answered = self.asked == 0 || *handled == self.asked.to_string().as_str();
        let current = status["observedGeneration"] == object["metadata"]["generation"];
        match (self.suspended, self.granted) {
            (true, _) => status["phase"] == "Suspended" && !is(object, "Active", "True"),
            (_, true) => {
                is(object, "Active", "True")
                    && is(object, "Ready", "True")
                    && is(object, "Sealed", "False")
                    && answered
                    && current
            }
            (_, false) if proved => {
                is(object, "Sealed", "True") && because("Sealed", "AccessDenied")
            }
            (_, false) => status["phase"] == "Pending" && because("Ready", "AccessDenied"),
        }
    }
}

pub struct Script<'a> {
    pub town: &'a Town,
    /// Whom it plays with.
    customers: &'a [Customer],
    api: Api<DynamicObject>,
    other_keys: BTreeMap<String, Key>,
    truths: BTreeMap<String, Truth>,
}

impl<'a> Script<'a> {
    pub async fn new(town: &'a Town, customers: &'a [Customer]) -> Result<Self> {
        let other = |customer: &Customer| {
            let key = customer.vault.create_key("other-wrapping-key");
            (customer.name.clone(), key)
        };
        Ok(Self {
            town,
            customers,
            api: tenants(town.env.client().await?, &town.env.namespace),
            other_keys: customers.iter().map(other).collect(),
            truths: BTreeMap::new(),
        })
    }

    pub fn truth(&self, name: &str) -> Option<&Truth> {
        self.truths.get(name)
    }

    pub fn key(&self, name: &str, truth: &Truth) -> String {
        match self.other_keys.get(name) {
            Some(key) if truth.other_key => key.url(),
            _ => self.customer(name).key.url(),
        }
    }

    fn customer(&self, name: &str) -> &Customer {
        let mut all = self.customers.iter();
        all.find(|customer| customer.name == name)
            .expect("a known customer")
    }

    /// The first tenant, so that there is something to kill for.
    pub async fn begin(&mut self) -> Result<()> {
        let name = self.customers[0].name.clone();
        self.create(&name).await
    }

    /// A few events in the life of one operator.
    pub async fn play(&mut self, dice: &mut Dice, life: usize) -> Result<()> {
        // A new tenant every few lives, so that creations are hit all along.
        let next = self.customers.get(self.truths.len());
        if let Some(name) = next.map(|customer| customer.name.clone())
            && life.is_multiple_of(4)
        {
            self.create(&name).await?;
        }
        for _ in 0..=dice.below(3) {
            tokio::time::sleep(dice.millis(300)).await; // the moment of an event is part of the play
            self.event(dice).await?;
        }
        Ok(())
    }

    async fn create(&mut self, name: &str) -> Result<()> {
        let truth = Truth {
            granted: true,
            suspended: false,
            other_key: false,
            slow: false,
            asked: 0,
        };
        self.truths.insert(name.to_owned(), truth);
        self.apply(name).await
    }

    async fn event(&mut self, dice: &mut Dice) -> Result<()> {
        let names: Vec<_> = self.truths.keys().cloned().collect();
        let name = &names[dice.index(names.len())];
        let Some(truth) = self.truths.get_mut(name) else {
            return Ok(());
        };
        match dice.below(10) {
            0..=4 => {
                truth.granted = !truth.granted;
                if truth.granted {
                    self.customer(name).grant();
                } else {
                    self.customer(name).revoke();
                }
                return Ok(());
            }
            5 => truth.slow = !truth.slow,
            6 | 7 => truth.other_key = !truth.other_key,
            8 => truth.asked += 1,
            _ => truth.suspended = !truth.suspended,
        }
        self.apply(name).await
    }

    /// Access given back and resumed everywhere.
    pub async fn set_right(&mut self) -> Result<()> {
        let names: Vec<_> = self.truths.keys().cloned().collect();
        for name in names {
            self.customer(&name).grant();
            if let Some(truth) = self.truths.get_mut(&name) {
                (truth.granted, truth.suspended) = (true, false);
            }
            self.apply(&name).await?;
        }
        Ok(())
    }

    /// Server-side apply of the object as it should be.
    async fn apply(&self, name: &str) -> Result<()> {
        let Some(truth) = self.truths.get(name) else {
            return Ok(());
        };
        let interval = if truth.slow { "6s" } else { "5s" };
        let mut object = json!({
            "apiVersion": "tenantkms.dev/v1alpha1",
            "kind": "TenantKms",
            "metadata": { "name": name },
            "spec": {
                "provider": "azure",
                "kmsKeyRef": self.key(name, truth),
                "azure": {
                    "tenantId": DIRECTORY,
                    "clientId": self.customer(name).app.client(),
                    "clientSecret": { "envVar": VARIABLE },
                },
                "verify": { "interval": interval, "proofTTL": "1m" },
                "suspend": truth.suspended,
            },
        });
        if truth.asked > 0 {
            let asked = truth.asked.to_string();
            object["metadata"]["annotations"] =
                json!({ "tenantkms.dev/verify-requested-at": asked });
        }
        let params = PatchParams::apply("e2e");
        self.api
            .patch(name, &params, &Patch::Apply(&object))
            .await?;
        Ok(())
    }
}
