// The frame around every page, and which page an address means. Addresses mirror the API's.

import { useEffect, useRef } from "react";
import { Link, Redirect, Route, Switch, useLocation, useParams } from "wouter";
import { useMe } from "./api/queries";
import { useSession } from "./api/session";
import { OrgsPage } from "./pages/orgs/orgs";
import { SignInPage } from "./pages/sign-in/sign-in";
import { WorkspacesPage } from "./pages/workspaces/list";
import { WorkspacePage } from "./pages/workspaces/view";
import { Button } from "./ui/button";
import { Mark } from "./ui/mark";
import { Empty } from "./ui/notice";
import { useTitle } from "./ui/title";

export function App() {
  const { api } = useSession();
  return api === null ? <SignInPage /> : <SignedIn />;
}

function SignedIn() {
  const main = useRef<HTMLElement>(null);
  const [address] = useLocation();
  const shown = useRef(address);

  // After a change of page the keyboard starts at the page, not at the link that is gone.
  useEffect(() => {
    if (shown.current === address) return;
    shown.current = address;
    main.current?.focus();
    window.scrollTo(0, 0);
  }, [address]);

  return (
    <>
      <button
        type="button"
        onClick={() => main.current?.focus()}
        className="sr-only focus:not-sr-only focus:absolute focus:top-2 focus:left-2 focus:z-10 focus:rounded-lg focus:bg-surface focus:px-4 focus:py-2"
      >
        Skip to the page
      </button>
      <Header />
      <main ref={main} tabIndex={-1} className="mx-auto max-w-6xl px-4 pt-6 pb-16 outline-none sm:px-6">
        <Switch>
          <Route path="/">
            <OrgsPage />
          </Route>
          <Route path="/orgs/:org">
            <ToWorkspaces />
          </Route>
          <Route path="/orgs/:org/workspaces">
            {({ org }) => <WorkspacesPage key={org} org={org} />}
          </Route>
          <Route path="/orgs/:org/workspaces/:workspace">
            {({ org, workspace }) => <WorkspacePage key={`${org}/${workspace}`} org={org} slug={workspace} />}
          </Route>
          <Route>
            <NowherePage />
          </Route>
        </Switch>
      </main>
    </>
  );
}

function Header() {
  const { signOut } = useSession();
  const me = useMe();
  return (
    <header className="border-b border-line bg-surface">
      <div className="mx-auto flex h-14 max-w-6xl items-center gap-4 px-4 sm:px-6">
        <Link href="/" className="flex items-center gap-2.5 rounded-md font-semibold">
          <Mark />
          EnvForge
        </Link>
        <span className="ml-auto truncate text-sm text-quiet">{me.data?.name}</span>
        <Button small onClick={signOut}>
          Sign out
        </Button>
      </div>
    </header>
  );
}

function ToWorkspaces() {
  const { org } = useParams<{ org: string }>();
  return <Redirect to={`/orgs/${org}/workspaces`} replace />;
}

function NowherePage() {
  useTitle("No such page");
  return (
    <Empty title="There is no such page">
      <Link href="/" className="text-link">
        Back to the workspaces
      </Link>
    </Empty>
  );
}
