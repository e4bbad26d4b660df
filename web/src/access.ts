// Which buttons to show. The server decides (docs/reference/permissions.md); this only spares people a refusal.

import type { Role } from "./api/types";

/** Wake, sleep, and issue or revoke links. */
export function mayWork(role: Role | undefined): boolean {
  return role === "owner" || role === "admin" || role === "developer";
}
