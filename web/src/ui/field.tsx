import { useId, type ReactNode } from "react";

/** A label over a control, with an optional sentence of help tied to it. */
export function Field({ label, help, children }: {
  label: string;
  help?: string;
  children: (ids: { id: string; "aria-describedby"?: string }) => ReactNode;
}) {
  const id = useId();
  return (
    <div className="min-w-0">
      <label htmlFor={id} className="mb-1 block text-sm font-medium">
        {label}
      </label>
      {children({ id, "aria-describedby": help ? `${id}-help` : undefined })}
      {help && (
        <p id={`${id}-help`} className="mt-1 text-sm text-quiet">
          {help}
        </p>
      )}
    </div>
  );
}
