// One workspace: what it can do now, what it costs, and who else may see it. Each part of the page is a file here.

import { Link } from "wouter";
import { mayWork } from "../../access";
import { useLiveWorkspace, type Live } from "../../api/live";
import { useMe } from "../../api/queries";
import type { RefusedError } from "../../api/refusal";
import { Empty, Loading, Notice, RefusalNotice } from "../../ui/notice";
import { useTitle } from "../../ui/title";
import { LinksCard } from "./links";
import { PartsCard } from "./parts";
import { RuntimeCard } from "./runtime";
import { ShellCard } from "./shell";
import { UsageCard } from "./usage";

export function WorkspacePage({ org, slug }: { org: string; slug: string }) {
  useTitle(`${slug} · ${org}`);
  const live = useLiveWorkspace(org, slug);
  const me = useMe();
  const role = me.data?.orgs.find((membership) => membership.slug === org)?.role;
  const { workspace } = live;

  return (
    <>
      <nav aria-label="Where you are" className="text-sm text-quiet">
        <Link href={`/orgs/${org}/workspaces`} className="text-link">
          {org}
        </Link>{" "}
        <span aria-hidden="true">/</span> {workspace?.project ?? "workspaces"}
      </nav>
      <div className="mb-5 flex flex-wrap items-center justify-between gap-x-4 gap-y-1">
        <div className="min-w-0">
          <h1 className="text-2xl font-semibold wrap-anywhere">{slug}</h1>
          {workspace && <p className="wrap-anywhere text-quiet">branch {workspace.branch}</p>}
        </div>
        {workspace && <Liveness connection={live.connection} />}
      </div>

      {workspace ? (
        <>
          {live.connection === "reconnecting" && <Stale error={live.error} />}
          <div className="grid items-start gap-5 lg:grid-cols-[minmax(0,1.65fr)_minmax(0,1fr)]">
            <div className="grid min-w-0 gap-5">
              <RuntimeCard workspace={workspace} mayWork={mayWork(role)} />
              <PartsCard workspace={workspace} />
              <LinksCard workspace={workspace} mayWork={mayWork(role)} />
            </div>
            <div className="grid min-w-0 gap-5">
              <ShellCard workspace={workspace} mayWork={mayWork(role)} />
              <UsageCard workspace={workspace} />
            </div>
          </div>
        </>
      ) : (
        <Absent live={live} org={org} />
      )}
    </>
  );
}

function Absent({ live, org }: { live: Live; org: string }) {
  const back = (
    <Link href={`/orgs/${org}/workspaces`} className="text-link">
      Back to the workspaces of {org}
    </Link>
  );
  if (live.isDeleted) return <Empty title="This workspace was deleted">{back}</Empty>;
  if (live.error) return <RefusalNotice error={live.error}>{live.connection === "ended" ? back : "Trying again …"}</RefusalNotice>;
  return <Loading what="the workspace" />;
}

function Liveness({ connection }: { connection: Live["connection"] }) {
  const isLive = connection === "live";
  return (
    <p className="flex items-center gap-2 text-sm text-quiet">
      <span aria-hidden="true" className={`size-2 rounded-full ${isLive ? "bg-ready" : "bg-waking motion-safe:animate-pulse"}`} />
      {isLive ? "Live" : "Reconnecting …"}
    </p>
  );
}

function Stale({ error }: { error: RefusedError | null }) {
  return (
    <div role="status" className="mb-5">
      <Notice look="warning">
        What you see may be out of date: {error ? error.refusal.message : "the connection ended"}. Trying again …
      </Notice>
    </div>
  );
}
