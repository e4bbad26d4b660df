// What is read again and again, each under its key. A page reads through these, never through the client itself.

import { keepPreviousData, QueryClient, useQuery } from "@tanstack/react-query";
import { answer } from "./client";
import { asRefused } from "./refusal";
import { useApi } from "./session";
import type { Workspace } from "./types";

export function makeQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 2_000,
        // A refusal is an answer; only what may pass is asked again.
        retry: (failures, error) => failures < 3 && asRefused(error).mayPass,
        retryDelay: (attempt) => Math.min(8_000, 500 * 2 ** attempt),
        // A self-hosted server may be reachable while the browser believes it is offline.
        networkMode: "always",
      },
      mutations: { networkMode: "always" },
    },
  });
}

export function useMe() {
  const { calls } = useApi();
  return useQuery({
    queryKey: ["me"],
    queryFn: ({ signal }) => answer(calls.GET("/v1/me", { signal })),
    staleTime: 60_000,
  });
}

export function useWorkspaces(org: string) {
  const { calls } = useApi();
  return useQuery({
    queryKey: ["workspaces", org],
    queryFn: ({ signal }) => answer(calls.GET("/v1/orgs/{org}/workspaces", { params: { path: { org } }, signal })),
    refetchInterval: 5_000,
  });
}

export const linksKey = (org: string, workspace: string) => ["links", org, workspace];

export function useLinks(org: string, workspace: string) {
  const { calls } = useApi();
  return useQuery({
    queryKey: linksKey(org, workspace),
    queryFn: ({ signal }) =>
      answer(calls.GET("/v1/orgs/{org}/workspaces/{workspace}/links", { params: { path: { org, workspace } }, signal })),
    refetchInterval: 15_000,
  });
}

/** Usage, read again whenever the runtime changes, and every 15 s; more often until the last receipt is final. */
export function useUsage({ org_slug: org, slug: workspace, runtime }: Workspace) {
  const { calls } = useApi();
  return useQuery({
    queryKey: ["usage", org, workspace, runtime.state, runtime.generation, runtime.awake_since ?? null],
    queryFn: ({ signal }) =>
      answer(calls.GET("/v1/orgs/{org}/workspaces/{workspace}/usage", { params: { path: { org, workspace } }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: ({ state: { data } }) => {
      const isSettling = runtime.state === "asleep" && data?.receipts[0]?.is_final === false;
      return isSettling ? 1_000 : 15_000;
    },
  });
}
