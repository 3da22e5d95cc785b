import { meta } from "./api";

/** The names of the buckets that the configuration has beside Perigee's own. */
export const stores = () =>
  meta("perigee-stores")
    .split(" ")
    .filter((s) => s !== "");
