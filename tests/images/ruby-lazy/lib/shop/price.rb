module Shop
  module Price
    def self.of(count)
      count * 7
    end
  end
end
