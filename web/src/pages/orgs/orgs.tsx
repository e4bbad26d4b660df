import { Link, Redirect } from "wouter";
import { useMe } from "../../api/queries";
import { Button } from "../../ui/button";
import { Empty, Loading, RefusalNotice } from "../../ui/notice";
import { useTitle } from "../../ui/title";

/** Where one lands: one's only org, or the choice of several. */
export function OrgsPage() {
  useTitle("Organizations");
  const me = useMe();
  if (me.isPending) return <Loading what="your organizations" />;
  if (me.isError) {
    return (
      <RefusalNotice error={me.error}>
        <Button small onClick={() => void me.refetch()}>
          Try again
        </Button>
      </RefusalNotice>
    );
  }
  const { orgs } = me.data;
  if (orgs.length === 1 && orgs[0]) return <Redirect to={`/orgs/${orgs[0].slug}/workspaces`} replace />;
  if (orgs.length === 0) {
    return <Empty title="You are not a member of an organization yet">Ask an owner or admin of yours to add you.</Empty>;
  }
  return (
    <>
      <h1 className="mb-4 text-2xl font-semibold">Organizations</h1>
      <ul className="card divide-y divide-line">
        {orgs.map(({ org, slug, role }) => (
          <li key={org} className="flex items-center justify-between gap-4 px-5 py-3.5">
            <Link href={`/orgs/${slug}/workspaces`} className="text-link font-medium">
              {slug}
            </Link>
            <span className="text-quiet">{role}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
