import type { DevHost, Part, PartKind, Workspace } from "../../api/types";
import { plural } from "../../format";
import { Badge } from "../../ui/badge";
import { Card } from "../../ui/card";
import { Words } from "../../ui/words";

const GROUPS: [PartKind, string][] = [
  ["runtime", "Runtime"],
  ["service", "Services"],
  ["resource", "Resources"],
  ["check", "Checks"],
];

/** Services with their dev hosts, resources and checks, each with its readiness. */
export function PartsCard({ workspace }: { workspace: Workspace }) {
  const { parts, dev_hosts: hosts, diagnostics = [] } = workspace;
  const groups = GROUPS.map(([kind, title]) => ({ title, parts: parts.filter((part) => part.kind === kind) }));
  const ready = parts.filter(({ state }) => state === "ready").length;
  return (
    <Card title="Parts" aside={parts.length > 0 && <span className="text-sm text-quiet">{`${ready} of ${parts.length} ready`}</span>}>
      {parts.length === 0 && (
        <p className="text-quiet">
          None known yet. They are those of the branch’s <code className="font-mono">envforge.yml</code>, once it is read.
        </p>
      )}
      {diagnostics.length > 0 && (
        <div role="status" className="mb-4">
          <p className="text-blocked">The branch’s envforge.yml can’t be used as it is; the last one that could, if there was one, stays in force.</p>
          <pre className="mt-1 overflow-x-auto text-sm">{diagnostics.join("\n")}</pre>
        </div>
      )}
      <div className="space-y-5">
        {groups.map(
          (group) =>
            group.parts.length > 0 && (
              <section key={group.title} aria-label={group.title}>
                <h3 className="mb-1 text-sm font-medium text-quiet">{group.title}</h3>
                <ul className="divide-y divide-line">
                  {group.parts.map((part) => (
                    <Row
                      key={part.name}
                      part={part}
                      host={answers(part) ? hosts.find(({ service }) => service === part.name) : undefined}
                    />
                  ))}
                </ul>
              </section>
            ),
        )}
      </div>
    </Card>
  );
}

/** Whether a visitor could reach it: a service that is ready without a port, a worker, answers nobody. */
function answers({ kind, state, port }: Part) {
  return kind === "service" && !(state === "ready" && port == null);
}

function Row({ part, host }: { part: Part; host?: DevHost }) {
  const notes = [
    part.port != null && `port ${part.port}`,
    !!part.restarts && plural(part.restarts, "restart"),
  ].filter(Boolean);
  return (
    <li className="py-2.5">
      <div className="flex items-start justify-between gap-3">
        <div className="min-w-0">
          <p className="flex flex-wrap items-baseline gap-x-2">
            <span className="font-medium">{part.name}</span>
            {notes.length > 0 && <span className="text-sm text-quiet">{notes.join(" · ")}</span>}
          </p>
          {host && (
            <a href={host.url} target="_blank" rel="noreferrer" className="text-link text-sm break-all">
              {host.url.replace(/^https?:\/\//, "")}
              <span className="sr-only"> (opens in a new tab)</span>
            </a>
          )}
          {part.state !== "blocked" && part.cause && <p className="text-sm text-quiet"><Words>{part.cause}</Words></p>}
          {part.state !== "blocked" && part.fix && (
            <p className="text-sm text-quiet">
              Fix: <Words>{part.fix}</Words>
            </p>
          )}
        </div>
        <Badge state={part.state} />
      </div>
      {part.state === "blocked" && (
        <div className="mt-2">
          <Trouble cause={part.cause} fix={part.fix} code={part.code} />
        </div>
      )}
    </li>
  );
}

/** Why something is blocked and what helps: the two are never shown apart. */
export function Trouble({ cause, fix, code }: { cause?: string | null; fix?: string | null; code?: string | null }) {
  return (
    <div className="rounded-lg border-l-3 border-blocked bg-blocked-soft px-3 py-2 text-sm wrap-anywhere">
      <p className="text-blocked"><Words>{cause ?? "blocked, without a cause given"}</Words></p>
      {fix && (
        <p className="mt-0.5">
          <span className="font-medium">Fix:</span> <Words>{fix}</Words>
        </p>
      )}
      {code && <p className="mt-0.5 font-mono text-xs text-quiet">{code}</p>}
    </div>
  );
}
