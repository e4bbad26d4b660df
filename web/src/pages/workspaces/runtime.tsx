import { useMutation } from "@tanstack/react-query";
import { answer } from "../../api/client";
import { useApi } from "../../api/session";
import type { RuntimeState, RuntimeView, Workspace } from "../../api/types";
import { sentence } from "../../format";
import { Badge } from "../../ui/badge";
import { Button } from "../../ui/button";
import { Card, Fact, Facts } from "../../ui/card";
import { RefusalNotice } from "../../ui/notice";
import { Time } from "../../ui/time";
import { Trouble } from "./parts";

/** The runtime, why it is as it is, and the two buttons that change it. */
export function RuntimeCard({ workspace, mayWork }: { workspace: Workspace; mayWork: boolean }) {
  const { runtime } = workspace;
  return (
    <Card title="Runtime" aside={<Badge state={runtime.readiness} label={publicWord(runtime.state)} />}>
      <p role="status" className="sr-only">
        The runtime is {publicWord(runtime.state)}
      </p>
      {runtime.readiness === "blocked" && (
        <div className="mb-4">
          <Trouble cause={runtime.blocked_cause} fix={runtime.blocked_fix} code={runtime.blocked_code} />
        </div>
      )}
      <Facts>
        <Fact name="Size">{sentence(runtime.size)}</Fact>
        {runtime.wake_cause && <Fact name="Woken by">{runtime.wake_cause}</Fact>}
        {runtime.awake_since && (
          <Fact name="Awake since">
            <Time at={runtime.awake_since} />
          </Fact>
        )}
        <Fact name={runtime.awake_since ? "Why awake" : "Now"}>
          <Reason runtime={runtime} />
        </Fact>
      </Facts>
      {mayWork && <Actions workspace={workspace} />}
    </Card>
  );
}

/** The state in the product's public words; a frozen runtime counts as asleep. */
export function publicWord(state: RuntimeState): string {
  switch (state) {
    case "frozen":
      return "asleep";
    case "stopping":
      return "going to sleep";
    case "asleep":
    case "waking":
    case "awake":
    case "blocked":
      return state;
  }
}

function Reason({ runtime }: { runtime: RuntimeView }) {
  switch (runtime.state) {
    case "asleep":
      return "Nothing is billed. The shell stays available, data stays, and links can wake it.";
    case "frozen":
      return "Nothing is billed. Processes rest in memory and connections stay open; the next request thaws them.";
    case "waking":
      return "On its way; waking is free.";
    case "stopping":
      return "Services are ending; data stays.";
    case "blocked":
      return runtime.awake_since ? "Blocked, and still metered; sleep ends that." : "Nothing is billed while it is blocked.";
    case "awake":
      break;
  }
  const { idle } = runtime;
  if (!idle) return "Just woken.";
  if (idle.verdict === "idle") {
    return (
      <>
        Idle; sleeps <Time at={idle.sleeps_at} /> unless something starts.
      </>
    );
  }
  return sentence(idle.reason);
}

function Actions({ workspace: { org_slug: org, slug, runtime } }: { workspace: Workspace }) {
  const { calls } = useApi();
  const params = { path: { org, workspace: slug } };
  // The event stream shows what came of it; what the call answers may already be older than that.
  const change = useMutation({
    mutationFn: (verb: "wake" | "sleep") =>
      answer(calls.POST(`/v1/orgs/{org}/workspaces/{workspace}/${verb}`, { params, body: {} })),
  });
  const pending = change.isPending ? change.variables : undefined;
  const isUp = runtime.state === "awake" || runtime.state === "waking";
  const wake = (
    <Button look="primary" pending={pending === "wake"} onClick={() => change.mutate("wake")}>
      {runtime.state === "blocked" ? "Try to wake again" : "Wake"}
    </Button>
  );
  const sleep = (
    <Button pending={pending === "sleep"} onClick={() => change.mutate("sleep")}>
      Sleep
    </Button>
  );

  return (
    <div className="mt-4 space-y-3">
      <div className="flex flex-wrap gap-2">
        {/* One place for both, so that the keyboard's focus stays on it. */}
        {isUp ? sleep : wake}
        {runtime.state === "blocked" && sleep}
      </div>
      {change.error && <RefusalNotice error={change.error} />}
    </div>
  );
}
