import { sentence } from "../format";

/** A message of the API as a sentence, with what stands in backticks set as code. */
export function Words({ children }: { children: string }) {
  return sentence(children)
    .split(/`([^`]+)`/)
    .map((piece, index) =>
      index % 2 === 0 ? (
        piece
      ) : (
        <code key={index} className="rounded-sm bg-text/8 px-1 py-px font-mono text-[0.92em]">
          {piece}
        </code>
      ),
    );
}
