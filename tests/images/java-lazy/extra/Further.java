package extra;

/** In a jar that only the other one's manifest names. */
public final class Further {
    static String word() {
        return "further";
    }
}
