/** The product's mark; src/icon.svg is the same as a file. */
export function Mark() {
  return (
    <svg aria-hidden="true" viewBox="0 0 32 32" className="size-7">
      <rect width="32" height="32" rx="8" fill="#3b4fd8" />
      <g fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" strokeLinejoin="round">
        <path d="M11 8v16M11 20c0-5 10-3 10-9" />
      </g>
      <g fill="#fff">
        <circle cx="11" cy="8" r="2.6" />
        <circle cx="11" cy="24" r="2.6" />
        <circle cx="21" cy="10" r="2.6" />
      </g>
    </svg>
  );
}
