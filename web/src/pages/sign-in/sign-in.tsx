import { useState, type FormEvent } from "react";
import { answer, connect } from "../../api/client";
import { asRefused, type RefusedError } from "../../api/refusal";
import { useSession } from "../../api/session";
import { Button } from "../../ui/button";
import { Field } from "../../ui/field";
import { Mark } from "../../ui/mark";
import { Notice, RefusalNotice } from "../../ui/notice";
import { useTitle } from "../../ui/title";

/** Asks for an API key, tries it, and keeps it for this tab only. */
export function SignInPage() {
  useTitle("Sign in");
  const { wasRefused, signIn, fetch } = useSession();
  const [key, setKey] = useState("");
  const [isTrying, setIsTrying] = useState(false);
  const [error, setError] = useState<RefusedError | null>(null);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const tried = key.trim();
    if (isTrying || tried === "") return;
    setIsTrying(true);
    setError(null);
    try {
      await answer(connect(tried, () => undefined, fetch).calls.GET("/v1/me"));
      signIn(tried);
    } catch (thrown) {
      setError(asRefused(thrown));
      setIsTrying(false);
    }
  };

  return (
    <main className="mx-auto flex min-h-dvh max-w-md flex-col justify-center px-4 py-10">
      <div className="mb-6 flex items-center gap-3">
        <Mark />
        <h1 className="text-2xl font-semibold">Sign in to EnvForge</h1>
      </div>
      <form onSubmit={submit} className="card space-y-4 p-5 sm:p-6">
        {wasRefused && error === null && (
          <div role="status">
            <Notice look="warning">Your key is no longer taken: it was revoked, or has expired. Sign in again.</Notice>
          </div>
        )}
        {error && <RefusalNotice error={error} />}
        <Field label="API key" help="Kept in this tab only, and forgotten when it closes.">
          {(ids) => (
            <input
              {...ids}
              type="password"
              autoComplete="off"
              spellCheck={false}
              required
              autoFocus
              value={key}
              onChange={(event) => setKey(event.target.value)}
              className="input font-mono"
            />
          )}
        </Field>
        <Button type="submit" look="primary" pending={isTrying} className="w-full">
          {isTrying ? "Signing in …" : "Sign in"}
        </Button>
      </form>
      <p className="mt-4 text-sm text-quiet">
        On a box of your own, <code className="font-mono">envforged admin owner-key</code> prints its owner’s key.
      </p>
    </main>
  );
}
