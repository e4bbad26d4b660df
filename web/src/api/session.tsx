// Who is signed in: one API key, kept in this tab's sessionStorage and nowhere else.

import { useQueryClient } from "@tanstack/react-query";
import { createContext, use, useMemo, useState, type ReactNode } from "react";
import { connect, type Api, type Fetch } from "./client";

const SLOT = "envforge.api_key";

interface Session {
  /** Absent until someone signed in. */
  readonly api: Api | null;
  /** What carries calls, for a key that is still being tried. */
  readonly fetch?: Fetch;
  /** Whether the last key was refused rather than put away. */
  readonly wasRefused: boolean;
  readonly signIn: (key: string) => void;
  readonly signOut: () => void;
}

const SessionContext = createContext<Session | null>(null);

export function SessionProvider({ fetch, children }: { fetch?: Fetch; children: ReactNode }) {
  const queries = useQueryClient();
  const [key, setKey] = useState(() => sessionStorage.getItem(SLOT));
  const [wasRefused, setWasRefused] = useState(false);

  const session = useMemo<Session>(() => {
    const leave = (refused: boolean) => {
      sessionStorage.removeItem(SLOT);
      queries.clear();
      setWasRefused(refused);
      setKey(null);
    };
    return {
      api: key === null ? null : connect(key, () => leave(true), fetch),
      fetch,
      wasRefused,
      signIn: (key) => {
        sessionStorage.setItem(SLOT, key);
        setWasRefused(false);
        setKey(key);
      },
      signOut: () => leave(false),
    };
  }, [key, wasRefused, fetch, queries]);

  return <SessionContext value={session}>{children}</SessionContext>;
}

export function useSession(): Session {
  const session = use(SessionContext);
  if (session === null) throw new Error("no SessionProvider above");
  return session;
}

/** The client of whoever is signed in; only pages behind the sign-in page may ask. */
export function useApi(): Api {
  const { api } = useSession();
  if (api === null) throw new Error("nobody is signed in");
  return api;
}
