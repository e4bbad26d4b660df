import type { Workspace } from "../../api/types";
import { Badge } from "../../ui/badge";
import { Card } from "../../ui/card";
import { Copy } from "../../ui/copy";
import { Trouble } from "./parts";

/** The shell, which is always there and never metered, and how to get into it. */
export function ShellCard({ workspace: { shell, slug }, mayWork }: { workspace: Workspace; mayWork: boolean }) {
  return (
    <Card title="Shell" aside={<Badge state={shell.state} />}>
      {shell.state === "blocked" ? (
        <Trouble cause={shell.cause} fix={shell.fix} code={shell.code} />
      ) : (
        <>
          <p className="text-quiet">Never metered, and opening it wakes nothing.</p>
          {mayWork && (
            <div className="mt-3">
              <Copy label="Command that opens the shell" value={`envforge up ${slug}`} />
            </div>
          )}
        </>
      )}
    </Card>
  );
}
