import { useEffect } from "react";

/** Names the page in the tab. */
export function useTitle(title: string) {
  useEffect(() => {
    document.title = `${title} · EnvForge`;
  }, [title]);
}
