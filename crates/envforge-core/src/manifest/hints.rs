//! What was probably meant: the nearest known word, and the words other tools use.

/// Longest word compared letter by letter.
const WORD_MAX: usize = 40;

/// Keys people bring from other tools, with what to do here.
const FOREIGN: [(&str, &str); 31] = [
    (
        "depends_on",
        "there is no start order: ask for what the service needs under `inputs`, as in `inputs: { api_url: required }`",
    ),
    (
        "wait_for",
        "there is no start order: ask for what the service needs under `inputs`, as in `inputs: { api_url: required }`",
    ),
    ("env", "write `environment`"),
    ("envs", "write `environment`"),
    ("env_file", "write the variables under `environment`; files with secrets do not belong in the repository"),
    ("vars", "write `variables`"),
    ("cmd", "write `command`"),
    ("run", "write `command`"),
    ("start", "write `command`"),
    ("script", "write `command`"),
    ("exec", "write `command`"),
    ("entrypoint", "write `command`"),
    ("cwd", "write `directory`"),
    ("dir", "write `directory`"),
    ("workdir", "write `directory`"),
    ("working_dir", "write `directory`"),
    ("root", "write `directory`"),
    ("path", "write `routes: [/…]` for what browsers ask for, or `directory` for where the service runs"),
    ("ports", "write `port` with the one port the service listens on; every branch has its own network"),
    ("expose", "write `port` with the one port the service listens on; every branch has its own network"),
    ("healthcheck", "write `health`, as in `health: { http: /healthz }`"),
    ("start_period", START_TIMEOUT),
    ("start_timeout", START_TIMEOUT),
    ("databases", "write `resources`, as in `resources: { postgres: branch_scoped }`"),
    ("database", "write `resources`, as in `resources: { postgres: branch_scoped }`"),
    ("workers", "write a worker under `services`; without `routes` no browser reaches it"),
    ("image", "services run from the checkout with `command`; base images are not available in this version"),
    ("build", "services run from the checkout: build as part of `command`, or once in `hooks: { setup: … }`"),
    ("volumes", "the checkout and every file in it are kept: nothing has to be mounted"),
    (
        "secrets",
        "name a secret as an input of the service that needs it: `inputs: { stripe_key: required }` takes the secret `STRIPE_KEY`",
    ),
    ("version", "remove it: the format has no version"),
];

const START_TIMEOUT: &str =
    "how long it may take to become ready stands at the service itself, beside `health`: `start_timeout: 10m`";

/// The known word nearest to this one, if it is near enough to be a slip.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.chars().count() > WORD_MAX {
        return None;
    }
    let near = |candidate: &str| match word.chars().count().max(candidate.chars().count()) {
        0..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    let lower = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= WORD_MAX)
        .map(|candidate| (distance(&lower, &candidate.replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= near(candidate) && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What to write instead of an unknown key.
pub(super) fn instead_of_key(key: &str, known: &[&'static str]) -> String {
    let foreign = FOREIGN.iter().find(|(name, _)| *name == key).map(|(_, hint)| *hint);
    // A hint that names a key helps only where that key is known.
    let fits = |hint: &str| {
        hint.split('`')
            .nth(1)
            .is_none_or(|word| !hint.starts_with("write `") || known.iter().any(|key| word.starts_with(key)))
    };
    if let Some(hint) = foreign.filter(|hint| fits(hint)) {
        return hint.to_owned();
    }
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known keys here: {}", list(known.iter().copied())),
    }
}

/// Whether a key stands where `command` was meant, so that its absence is no mistake of its own.
pub(super) fn means_command(key: &str) -> bool {
    let foreign = FOREIGN.iter().any(|(name, hint)| *name == key && *hint == "write `command`");
    foreign || nearest(key, ["command"]).is_some()
}

/// Words in backticks with commas, cut when there are many.
pub(super) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let words: Vec<&str> = words.into_iter().collect();
    let mut shown: Vec<String> = words.iter().take(SHOWN).map(|word| super::diagnostic::quoted(word)).collect();
    if words.len() > SHOWN {
        shown.push(format!("and {} more", words.len() - SHOWN));
    }
    shown.join(", ")
}

/// Steps from one word to the other: a letter put in, left out, changed, or two neighbours swapped.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let changed = last[column] + usize::from(letter != other);
            let mut best = changed.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other;
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}
