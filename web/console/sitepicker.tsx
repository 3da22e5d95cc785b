import { site, sites } from "./sites";

/** Chooses the site that the views work on. */
export function SitePicker({ id, label }: { id: string; label: string }) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={site.value}
        disabled={sites.value.length === 0}
        onChange={(e) => {
          site.value = e.currentTarget.value;
        }}
      >
        {sites.value.map((s) => (
          <option key={s.site} value={s.site}>
            {s.site}
            {s.hosts?.[0] ? ` (${s.hosts[0]})` : ""}
          </option>
        ))}
      </select>
    </div>
  );
}
