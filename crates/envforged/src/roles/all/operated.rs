//! One box as its operator sees it: one address for all of it.
//!
//! Each role tells its own story on a socket of its own, under names that no other role uses, so the texts only have to be
//! put one after the other. What the supervisor adds is what no role can say of itself: whether it answers at all, and how
//! often it was started again.

use super::layout::Layout;
use super::probe;
use crate::operator;
use envforge_core::refusal::Refusal;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The roles of a box, in the order of their start.
pub(crate) const ROLES: [&str; 3] = ["server", "gateway", "host"];
/// How an `OpenMetrics` text ends.
const END: &str = "# EOF\n";

/// A role's name as a label.
pub(crate) type RoleLabel = [(&'static str, &'static str); 1];

/// One box.
pub(crate) struct Operated {
    pub(crate) layout: Layout,
    /// Starts of a role after its death.
    pub(crate) restarts: Family<RoleLabel, Counter>,
}

impl operator::Operated for Operated {
    async fn metrics(&self) -> String {
        let up = Family::<RoleLabel, Gauge>::default();
        let mut texts = String::new();
        for role in ROLES {
            let told = probe::operator(&self.layout.operator_socket(role), "/metrics").await;
            let is_up = matches!(told, Some((200, _)));
            up.get_or_create(&[("role", role)]).set(i64::from(is_up));
            if let Some((200, text)) = told {
                texts.push_str(text.trim_end_matches(END));
            }
        }
        let mut registry = Registry::with_prefix("envforge_box");
        registry.register("role_up", "1 when the role answered this look", up);
        registry.register("role_restarts", "Starts of a role after its death", self.restarts.clone());
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut texts, &registry);
        texts
    }

    async fn ready(&self) -> Result<(), Refusal> {
        for role in ROLES {
            let (code, message) = match probe::operator(&self.layout.operator_socket(role), "/ready").await {
                Some((200, _)) => continue,
                Some((_, why)) => ("box.not_ready", format!("the {role}: {}", why.trim())),
                None => ("box.role_down", format!("the {role} does not answer")),
            };
            return Err(Refusal::unavailable(code, message));
        }
        Ok(())
    }
}
