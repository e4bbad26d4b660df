import { useState } from "react";
import { Link } from "wouter";
import { useWorkspaces } from "../../api/queries";
import type { Part, Workspace } from "../../api/types";
import { plural } from "../../format";
import { Badge } from "../../ui/badge";
import { Button } from "../../ui/button";
import { Copy } from "../../ui/copy";
import { Empty, Loading, RefusalNotice } from "../../ui/notice";
import { Time } from "../../ui/time";
import { useTitle } from "../../ui/title";
import { Words } from "../../ui/words";
import { publicWord } from "./runtime";

/** From so many on, a filter helps more than it is in the way. */
const FILTER_FROM = 6;

export function WorkspacesPage({ org }: { org: string }) {
  useTitle(`Workspaces of ${org}`);
  const workspaces = useWorkspaces(org);
  const [filter, setFilter] = useState("");
  const all = workspaces.data?.workspaces ?? [];
  const wanted = filter.trim().toLowerCase();
  const shown = all.filter(({ slug, branch, project }) =>
    [slug, branch, project].some((text) => text.toLowerCase().includes(wanted)),
  );

  return (
    <>
      <div className="mb-4 flex flex-wrap items-end justify-between gap-x-6 gap-y-3">
        <div>
          <p className="text-quiet">{org}</p>
          <h1 className="text-2xl font-semibold">Workspaces</h1>
          {all.length > 0 && <p className="text-quiet">{summary(all)}</p>}
        </div>
        {all.length >= FILTER_FROM && (
          <input
            type="search"
            aria-label="Filter by name, branch or project"
            placeholder="Filter"
            value={filter}
            onChange={(event) => setFilter(event.target.value)}
            className="input sm:max-w-64"
          />
        )}
      </div>

      {workspaces.isError && (
        <div className="mb-4">
          <RefusalNotice error={workspaces.error}>
            <Button small onClick={() => void workspaces.refetch()}>
              Try again
            </Button>
          </RefusalNotice>
        </div>
      )}
      {workspaces.isPending && <Loading what="the workspaces" />}
      {workspaces.isSuccess && all.length === 0 && (
        <Empty title="No workspace yet">
          <p className="mb-4">One is made for a branch when you first open it. In a checkout of the repository:</p>
          <Copy label="Command that makes a workspace" value="envforge up" />
        </Empty>
      )}
      {all.length > 0 && shown.length === 0 && <Empty title={`No workspace matches “${filter.trim()}”`} />}
      {shown.length > 0 && (
        <ul aria-label="Workspaces" className="card divide-y divide-line overflow-hidden">
          {shown.map((workspace) => (
            <Row key={workspace.id} org={org} workspace={workspace} />
          ))}
        </ul>
      )}
    </>
  );
}

function Row({ org, workspace }: { org: string; workspace: Workspace }) {
  const { slug, branch, project, runtime, parts } = workspace;
  const blocked = [workspace.shell, ...parts].filter(({ state }) => state === "blocked");
  return (
    <li className="relative grid gap-x-4 gap-y-1 px-4 py-3.5 hover:bg-sunken sm:grid-cols-[1fr_auto] sm:px-5">
      <div className="min-w-0">
        {/* The link's area is the row, so that a finger finds it. */}
        <Link
          href={`/orgs/${org}/workspaces/${slug}`}
          className="text-link font-medium wrap-anywhere after:absolute after:inset-0"
        >
          {slug}
        </Link>
        <p className="text-sm wrap-anywhere text-quiet">
          {project} · {branch}
        </p>
        {runtime.readiness === "blocked" && runtime.blocked_cause && (
          <p className="text-sm text-blocked">
            <Words>{runtime.blocked_cause}</Words>
          </p>
        )}
        {blocked.length > 0 && <p className="text-sm text-blocked">Blocked: {names(blocked)}</p>}
      </div>
      <div className="flex items-center gap-3 sm:justify-end">
        <span className="text-sm text-quiet">
          {runtime.awake_since && (
            <>
              woke <Time at={runtime.awake_since} />
            </>
          )}
        </span>
        <Badge state={runtime.readiness} label={publicWord(runtime.state)} />
      </div>
    </li>
  );
}

const names = (parts: Part[]) => parts.map(({ name }) => name).join(", ");

function summary(workspaces: Workspace[]): string {
  const awake = workspaces.filter(({ runtime }) => runtime.readiness === "ready").length;
  return `${plural(workspaces.length, "workspace")}, ${awake} awake`;
}
