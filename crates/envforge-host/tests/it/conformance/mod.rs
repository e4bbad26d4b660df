//! What every engine must do, on whatever it is built: one suite of cases, run with each engine there is.
//!
//! A case sees [`Engine`](envforge_host::engines::Engine) and what an init answers, nothing of what an engine is made of.
//! One that an engine can't run on this machine says so, and is never told as passed by silence. An engine that is added
//! gets a [`Kind`] and a line below.

mod cases;
pub(crate) mod rig;

use rig::Kind;

/// Why an engine can't run a case.
pub(crate) type Verdict = Result<(), &'static str>;

macro_rules! conformance {
    (engines { $($module:ident: $kind:expr,)+ } cases $cases:tt) => {
        $(conformance!(@engine $module, $kind, $cases);)+
        conformance!(@by_name $cases);
    };
    (@engine $module:ident, $kind:expr, [$($case:ident,)+]) => {
        mod $module {
            use super::{Kind, rig};
            $(
                #[test]
                fn $case() {
                    rig::hold($kind, stringify!($case));
                }
            )+
        }
    };
    (@by_name [$($case:ident,)+]) => {
        /// Runs a case.
        pub(crate) async fn run(case: &str, rig: &rig::Rig) -> Verdict {
            match case {
                $(stringify!($case) => cases::$case(rig).await,)+
                other => panic!("no case {other}"),
            }
        }
    };
}

conformance! {
    engines {
        with_cgroups: Kind::Cgroups,
        by_inits: Kind::Inits,
        rootless: Kind::Rootless,
    }
    cases [
        a_layer_is_what_was_planned,
        a_layer_has_only_what_it_needs,
        a_start_clears_away_what_was_there,
        what_cannot_be_started_leaves_nothing,
        a_layer_is_adopted_and_a_stranger_is_not,
        a_paused_layer_does_nothing_and_loses_nothing,
        memory_given_back_is_not_lost,
        an_end_takes_everything,
        layers_are_apart,
        an_elevated_layer_is_root_inside,
        memory_and_processes_are_limited,
        what_a_layer_uses_is_told,
        a_service_is_reached_wherever_it_listens,
        a_port_of_the_workspace_is_listened_on,
        whoever_listens_is_found,
        networks_are_apart,
    ]
}
