import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { answer } from "../../api/client";
import { linksKey, useLinks } from "../../api/queries";
import { useApi } from "../../api/session";
import type { CreatedLink, CreateLink, Link, Workspace } from "../../api/types";
import { count, plural } from "../../format";
import { Button } from "../../ui/button";
import { Card } from "../../ui/card";
import { Copy } from "../../ui/copy";
import { Field } from "../../ui/field";
import { Loading, Notice, RefusalNotice } from "../../ui/notice";
import { Time } from "../../ui/time";

const LIVES = [
  { minutes: 60, label: "1 hour" },
  { minutes: 24 * 60, label: "1 day" },
  { minutes: 7 * 24 * 60, label: "7 days" },
  { minutes: 30 * 24 * 60, label: "30 days" },
];

/** Signed links: make one, see what became of them, take one back. */
export function LinksCard({ workspace, mayWork }: { workspace: Workspace; mayWork: boolean }) {
  const links = useLinks(workspace.org_slug, workspace.slug);
  const [step, setStep] = useState<"list" | "asking" | CreatedLink>("list");
  // A button that comes back takes the keyboard's focus from what went away.
  const [hasAsked, setHasAsked] = useState(false);
  const all = links.data?.links ?? [];
  const active = all.filter(({ state }) => state === "active");
  const over = all.filter(({ state }) => state !== "active");
  const mayAsk = mayWork && step === "list" && workspace.dev_hosts.length > 0;

  return (
    <Card
      title="Links"
      aside={
        mayAsk && (
          <Button
            small
            autoFocus={hasAsked}
            onClick={() => {
              setHasAsked(true);
              setStep("asking");
            }}
          >
            New link
          </Button>
        )
      }
    >
      {step === "asking" && <Ask workspace={workspace} onMade={setStep} onCancel={() => setStep("list")} />}
      {typeof step === "object" && <Made made={step} onDone={() => setStep("list")} />}
      {links.isError && (
        <RefusalNotice error={links.error}>
          <Button small onClick={() => void links.refetch()}>
            Try again
          </Button>
        </RefusalNotice>
      )}
      {links.isPending && <Loading what="the links" />}
      {links.isSuccess && active.length === 0 && (
        <p className="text-quiet">
          {workspace.dev_hosts.length === 0
            ? "A link shows one service to a reviewer; there is no service yet."
            : "No active link. A link shows one service to a reviewer, expires, and can be revoked."}
        </p>
      )}
      <List links={active} workspace={workspace} mayWork={mayWork} />
      {over.length > 0 && (
        <details className="mt-2">
          <summary className="text-link inline-block py-1 text-sm">{count(over.length)} expired or revoked</summary>
          <List links={over} workspace={workspace} mayWork={false} />
        </details>
      )}
    </Card>
  );
}

function Ask({ workspace, onMade, onCancel }: {
  workspace: Workspace;
  onMade: (made: CreatedLink) => void;
  onCancel: () => void;
}) {
  const { org_slug: org, slug, dev_hosts: hosts } = workspace;
  const { calls } = useApi();
  const queries = useQueryClient();
  const [service, setService] = useState(hosts[0]?.service ?? "");
  const [minutes, setMinutes] = useState(60);
  const [visits, setVisits] = useState("");
  const create = useMutation({
    mutationFn: (body: CreateLink) =>
      answer(calls.POST("/v1/orgs/{org}/workspaces/{workspace}/links", { params: { path: { org, workspace: slug } }, body })),
    onSuccess: async (made) => {
      onMade(made);
      await queries.invalidateQueries({ queryKey: linksKey(org, slug) });
    },
    // The answer holds the token: no cache keeps it.
    gcTime: 0,
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (create.isPending) return;
    create.mutate({ service, expires_in_minutes: minutes, visit_budget: visits === "" ? null : Number(visits) });
  };

  return (
    <form
      onSubmit={submit}
      onKeyDown={(event) => event.key === "Escape" && onCancel()}
      className="mb-4 space-y-3 rounded-lg bg-sunken p-4"
      aria-label="New link"
    >
      <div className="grid gap-3 sm:grid-cols-3">
        <Field label="Service">
          {(ids) => (
            <select {...ids} autoFocus value={service} onChange={(event) => setService(event.target.value)} className="input">
              {hosts.map((host) => (
                <option key={host.service}>{host.service}</option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Expires in">
          {(ids) => (
            <select {...ids} value={minutes} onChange={(event) => setMinutes(Number(event.target.value))} className="input">
              {LIVES.map((life) => (
                <option key={life.minutes} value={life.minutes}>
                  {life.label}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Most visits">
          {(ids) => (
            <input
              {...ids}
              type="number"
              min={1}
              max={1_000_000}
              step={1}
              placeholder="no limit"
              value={visits}
              onChange={(event) => setVisits(event.target.value)}
              className="input"
            />
          )}
        </Field>
      </div>
      {create.error && <RefusalNotice error={create.error} />}
      <div className="flex gap-2">
        <Button type="submit" look="primary" pending={create.isPending}>
          Make the link
        </Button>
        <Button onClick={onCancel}>Cancel</Button>
      </div>
    </form>
  );
}

function Made({ made, onDone }: { made: CreatedLink; onDone: () => void }) {
  return (
    <div className="mb-4">
      <Notice look="good">
        <p role="status" className="mb-2 font-medium">
          Link to {made.link.service} made. Copy it now: it is not shown again.
        </p>
        <Copy label="The link" value={made.url} focus />
        <div className="mt-3 flex flex-wrap items-center justify-between gap-2">
          <p className="text-sm">
            Expires <Time at={made.link.expires_at} />; whoever has it can open {made.link.service}.
          </p>
          <Button small onClick={onDone}>
            Done
          </Button>
        </div>
      </Notice>
    </div>
  );
}

function List({ links, workspace, mayWork }: { links: Link[]; workspace: Workspace; mayWork: boolean }) {
  return (
    <ul className="divide-y divide-line">
      {links.map((link) => (
        <Row key={link.id} link={link} workspace={workspace} mayWork={mayWork} />
      ))}
    </ul>
  );
}

function Row({ link, workspace: { org_slug: org, slug }, mayWork }: { link: Link; workspace: Workspace; mayWork: boolean }) {
  const { calls } = useApi();
  const queries = useQueryClient();
  const [isSure, setIsSure] = useState<boolean | null>(null);
  const revoke = useMutation({
    mutationFn: () => answer(calls.DELETE("/v1/orgs/{org}/links/{link}", { params: { path: { org, link: link.id } } })),
    onSettled: () => queries.invalidateQueries({ queryKey: linksKey(org, slug) }),
  });
  const visits =
    link.visit_budget == null ? plural(link.visits, "visit") : `${count(link.visits)} of ${plural(link.visit_budget, "visit")}`;

  return (
    <li className="py-2.5">
      <div className="flex flex-wrap items-center justify-between gap-x-3 gap-y-2">
        <div className="min-w-0">
          <p>
            <span className="font-medium">{link.service}</span>{" "}
            <span className="text-quiet">
              {link.state === "revoked" ? "revoked" : <>{link.state === "active" ? "expires" : "expired"} <Time at={link.expires_at} /></>}
            </span>
          </p>
          {(link.routes ?? []).length > 0 && <p className="text-sm text-quiet">Only {link.routes?.join(", ")}</p>}
          <p className="text-sm text-quiet">
            {visits} · {count(link.wakes)} of {plural(link.wake_budget, "wake")} · {count(link.minutes ?? 0)} of{" "}
            {plural(link.minute_budget ?? 0, "awake minute")} · made <Time at={link.created_at} />
          </p>
        </div>
        {mayWork &&
          (isSure ? (
            <div className="flex gap-2">
              <Button small look="danger" autoFocus pending={revoke.isPending} onClick={() => revoke.mutate()}>
                Revoke now
              </Button>
              <Button small onClick={() => setIsSure(false)}>
                Keep
              </Button>
            </div>
          ) : (
            <Button small autoFocus={isSure === false} aria-label={`Revoke the link to ${link.service}`} onClick={() => setIsSure(true)}>
              Revoke
            </Button>
          ))}
      </div>
      {isSure && !revoke.error && (
        <p role="status" className="mt-1 text-sm text-quiet">
          Whoever uses it now is cut off within a second.
        </p>
      )}
      {revoke.error && (
        <div className="mt-2">
          <RefusalNotice error={revoke.error} />
        </div>
      )}
    </li>
  );
}
