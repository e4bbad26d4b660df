//! The dev domain, said to development servers that answer only to names they know.
//!
//! Against DNS rebinding they refuse requests for any other host than `localhost`. A dev host is such another name as soon as
//! the dev domain is not `localhost`, and the person would be told to edit the application for it. Those that take further
//! names from a variable are given the dev domain, all its subdomains meant: a request comes to a service by its own dev
//! host, or by a neighbour's routes. What `envforge.yml` sets itself stays as it is.

use std::collections::BTreeMap;

/// One further host, or all below a domain: <https://vite.dev/config/server-options#server-allowedhosts>.
const VITE: &str = "__VITE_ADDITIONAL_SERVER_ALLOWED_HOSTS";
/// The same, comma-separated: <https://guides.rubyonrails.org/configuring.html#actiondispatch-hostauthorization>.
const RAILS: &str = "RAILS_DEVELOPMENT_HOSTS";

/// Adds the dev domain of the service with this origin, such as `https://web--main--acme.dev.example.org`.
pub(crate) fn allow(environment: &mut BTreeMap<String, String>, origin: &str) {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let host = host.split([':', '/']).next().unwrap_or(host);
    let Some((_, domain)) = host.split_once('.') else { return };
    for variable in [VITE, RAILS] {
        environment.entry(variable.to_owned()).or_insert_with(|| format!(".{domain}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::from([("PORT".to_owned(), "3000".to_owned())]);
        allow(&mut environment, origin);
        environment
    }

    // proves LINK-3
    #[test]
    fn every_dev_host_is_a_name_a_development_server_answers_to() {
        for origin in ["https://web--main--acme.dev.example.org", "http://web--main--acme.dev.example.org:7081/"] {
            let environment = allowed(origin);
            assert_eq!(environment[VITE], ".dev.example.org", "{origin}");
            assert_eq!(environment[RAILS], ".dev.example.org", "{origin}");
            assert_eq!(environment["PORT"], "3000");
        }
        assert_eq!(allowed("http://web--main--local.localhost:7081")[VITE], ".localhost");
        assert_eq!(allowed("no-domain").len(), 1);
    }

    #[test]
    fn what_the_file_says_stays() {
        let mut environment = BTreeMap::from([(RAILS.to_owned(), "only.example.org".to_owned())]);
        allow(&mut environment, "https://web--main--acme.dev.example.org");
        assert_eq!(environment[RAILS], "only.example.org");
    }
}
